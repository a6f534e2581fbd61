"""The shipped JSON Schema is the one that the records give, is valid, and says what the reader says."""

import importlib.resources
import tomllib

import jsonschema
import msgspec
import pytest

from runwright.adapters.toml import parse_workflow
from runwright.core.errors import DefinitionError
from runwright.core.jsonschema import schema, schema_text
from runwright.core.kinds import FileKind

GOOD = """
name = "demo"
tags = ["a"]
on_failure = "alarm"
secrets = ["TOKEN"]
kill_grace = "5s"
max_log_bytes = "10MiB"
[variables]
env = "prod"
[executors.box]
executor = "container"
image = "alpine"
[[triggers]]
type = "cron"
config = { schedule = "0 3 * * *" }
[tasks.build]
cmd = "make {{.os}}"
matrix = { os = ["linux", "mac"] }
retries = 2
retry_delay = 1.5
retry_on = [1, 2]
if = 'env == "prod"'
pre = "true"
cleanup = ["rm -f x", "true"]
[tasks.check]
argv = ["true"]
depends_on = ["build[os=linux]"]
[tasks.pack]
executor = "box"
args = { command = ["ls"] }
[tasks.alarm]
type = "forensic"
cmd = "echo {{.failed_task}}"
"""


WORKFLOW = schema(FileKind.WORKFLOW)


@pytest.mark.parametrize("kind", FileKind)
def test_the_shipped_schema_is_up_to_date(kind: FileKind) -> None:
    name = f"data/{kind.value}.schema.json"
    shipped = importlib.resources.files("runwright").joinpath(name).read_text("utf-8")
    assert shipped == schema_text(kind), f"write core.jsonschema.schema_text(...) to {name}"


def test_it_is_a_valid_schema_that_accepts_what_the_reader_accepts() -> None:
    jsonschema.Draft202012Validator.check_schema(WORKFLOW)
    jsonschema.validate(tomllib.loads(GOOD), WORKFLOW)
    assert set(parse_workflow(GOOD, "demo").tasks) == {"build", "check", "pack", "alarm"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "demo"', 'nmae = "demo"'),
        ("retries = 2", "retry = 2"),
        ("retries = 2", 'retries = "2"'),
        ('type = "forensic"', 'type = "forensik"'),
        ('argv = ["true"]', ""),
        ("[tasks.check]", '[tasks."a b"]'),
        ('type = "cron"', 'typ = "cron"'),
    ],
)
def test_it_rejects_what_the_reader_rejects(old: str, new: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), WORKFLOW)
    with pytest.raises(DefinitionError):
        parse_workflow(text, "demo")


def test_every_described_key_is_known_to_the_schema() -> None:
    encoded = msgspec.json.encode(WORKFLOW)
    for key in ("depends_on", "retry_jitter", "if", "secrets", "max_log_bytes"):
        assert f'"{key}"'.encode() in encoded
