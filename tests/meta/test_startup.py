"""What is loaded late works when somebody uses it, and a run loads none of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = "import sys; from runwright.cli.startup import RARELY_USED, LazyModule, lighten; lighten()\n"
NOT_LOADED = "[name for name in RARELY_USED if type(sys.modules[name]) is LazyModule]"


def output(tmp_path: Path, code: str, begin: str = BEGIN) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + code],
        cwd=tmp_path,
        # measuring coverage in the child would load what must not be loaded
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import ssl; context = ssl.create_default_context(); print(context.verify_mode == ssl.CERT_REQUIRED)",
            "True",
        ),
        ("import asyncio.sslproto as s, asyncio.protocols as p; print(s.SSLProtocol.__name__)", "SSLProtocol"),
        ("import msgspec; print(msgspec.inspect.type_info(int))", "IntType("),
        ("import msgspec; print(msgspec.json.schema(int))", "{'type': 'integer'}"),
        ("import msgspec; print(msgspec.json.schema_components([int]))", "(({'type': 'integer'},), {})"),
        ("import msgspec; print(msgspec.toml.decode('a = 1'))", "{'a': 1}"),
        ("import inspect; print(inspect.isfunction(lighten))", "True"),
        ("from inspect import signature; print(signature(lighten))", "() -> None"),
        ("import platform, os; print(platform.system() == os.uname().sysname, platform.machine() != '')", "True True"),
        ("import logging; logging.basicConfig(); logging.warning('x'); print(logging.DEBUG)", "10"),
        ("from urllib.parse import quote; print(quote('a b'))", "a%20b"),
        ("import pathlib; print(pathlib.Path('/a b').as_uri())", "file:///a%20b"),
        ("import subprocess; print(subprocess.run(['echo', 'x'], stdout=subprocess.PIPE).stdout)", "b'x\\n'"),
        ("import textwrap, linecache; print(textwrap.indent('a', ' '), linecache.getlines('no'))", "a []"),
        ("from concurrent.futures import ThreadPoolExecutor as T; print(T(1).submit(int, '7').result())", "7"),
        ("import concurrent.futures as c; print(c.wait([c.Future()], 0).done, c.FIRST_COMPLETED)", "set() FIRST_COMPLETED"),
        ("import asyncio; print(asyncio.run(asyncio.to_thread(int, '8')))", "8"),
        (
            "import asyncio\nasync def f(): p = await asyncio.create_subprocess_exec('echo', 'z', stdout=-1); return await p.communicate()\nprint(asyncio.run(f()))",
            "(b'z\\n', None)",
        ),
    ],
)  # fmt: skip
def test_it_works_when_it_is_used(tmp_path: Path, code: str, expected: str) -> None:
    assert output(tmp_path, code).startswith(expected)


def test_asyncio_logs_as_always(tmp_path: Path) -> None:
    code = """
import asyncio
asyncio.log.logger.debug("nobody listens")
print(type(sys.modules["logging"]) is LazyModule)
import logging
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(name)s %(filename)s %(message)s")
asyncio.log.logger.debug("one")
asyncio.log.logger.error("two")
asyncio.log.logger.disabled = True
asyncio.log.logger.error("three")
print(logging.getLogger("asyncio").disabled)
"""
    assert output(tmp_path, code).splitlines() == [
        "True", "asyncio <string> one", "asyncio <string> two", "True",
    ]  # fmt: skip


def test_two_threads_that_need_one_module_both_get_it(tmp_path: Path) -> None:
    code = """
from threading import Barrier, Thread
barrier, found = Barrier(8), []
def use(number):
    barrier.wait()
    import inspect
    found.append(inspect.getsource and inspect.signature)
threads = [Thread(target=use, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(found))
"""
    assert output(tmp_path, code) == "8"


def test_what_is_missing_is_an_attribute_error(tmp_path: Path) -> None:
    code = "import inspect\ntry: inspect.no_such\nexcept AttributeError as error: print(error)"
    assert output(tmp_path, code) == "module 'inspect' has no attribute 'no_such'"


def test_what_is_loaded_already_stays_as_it_is(tmp_path: Path) -> None:
    begin = "import asyncio, msgspec\n" + BEGIN
    assert output(tmp_path, "print([n for n in RARELY_USED if type(sys.modules.get(n)) is LazyModule])", begin) == "[]"  # fmt: skip


def test_a_run_loads_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('[tasks.a]\ncmd = "true"\n')
    code = f"""
from runwright.cli.main import main
assert main(["run", "one.toml", "--quiet"]) == 0
print(sorted(RARELY_USED) == sorted({NOT_LOADED}))
"""
    assert output(tmp_path, code) == "True"
