"""The exact command line of bubblewrap."""

from pathlib import Path

from runwright.executors.isolated_args import Bind
from runwright.executors.sandbox_argv import ENTER, Cage, identity_files, system_link, task_files, to_argv
from runwright.executors.sandbox_files import Layout

ROOT = Path("/state")
LAYOUT = Layout(
    root=ROOT,
    work=ROOT / "work",
    staged=ROOT / "inputs",
    values=ROOT / "values",
    etc=ROOT / "etc",
    read_only=("src", "top.h"),
)
LINKS = {"/usr": "", "/bin": "usr/bin", "/lib": ""}.get

NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
COMMON = ("--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL")
DIRECTORIES = ("--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/run")
SYSTEM = ("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--ro-bind", "/lib", "/lib")
ETC = tuple(
    part
    for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime")
    for part in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
)
IDENTITY = ("--ro-bind", "/state/etc/passwd", "/etc/passwd", "--ro-bind", "/state/etc/group", "/etc/group")
KERNEL = ("--proc", "/proc", "--dev", "/dev")
SHORT_LIVED = ("--perms", "1777", "--tmpfs", "/dev/shm", "--perms", "1777", "--tmpfs", "/tmp")
FILES = (
    *("--bind", "/state/work", "/task", "--bind", "/state/values", "/run/runwright"),
    *("--ro-bind", "/state/inputs/src", "/task/src", "--ro-bind", "/state/inputs/top.h", "/task/top.h"),
)
HEED = ("/usr/bin/env", "--default-signal=TERM", "--")


def test_for_a_user() -> None:
    assert to_argv(
        "/usr/bin/bwrap", Cage(etc=LAYOUT.etc, files=task_files(LAYOUT)), ("make", "-j"), LINKS
    ) == (
        *("/bin/sh", "-c", ENTER, "sandbox", "0", "/usr/bin/bwrap"),
        *(*NAMESPACES, "--unshare-net", *COMMON, "--unshare-user", "--disable-userns"),
        *(*DIRECTORIES, *SYSTEM, *ETC, *IDENTITY, *KERNEL, *SHORT_LIVED, *FILES),
        *("--remount-ro", "/", "--chdir", "/task", "--", *HEED, "make", "-j"),
    )


def test_for_root_with_everything() -> None:
    cage = Cage(
        etc=LAYOUT.etc,
        files=task_files(LAYOUT),
        binds=(
            Bind(source="/tree/tool", target="/opt/x/tool"),
            Bind(source="/tree/c", target="/c", writable=True),
        ),
        working_dir="/task/sub",
        network=True,
        entrances=("/cg/a", "/cg/b"),
        limits=("--cpu=3",),
        is_root=True,
    )
    network = (
        part
        for name in (
            "resolv.conf",
            "hosts",
            "nsswitch.conf",
            "services",
            "protocols",
            "ssl",
            "ca-certificates",
            "pki",
        )
        for part in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    )
    assert to_argv("/usr/bin/bwrap", cage, ("make",), LINKS) == (
        *("/bin/sh", "-c", ENTER, "sandbox", "2", "/cg/a", "/cg/b", "/usr/bin/bwrap"),
        *(*NAMESPACES, *COMMON, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
        *(*DIRECTORIES, *SYSTEM, *ETC, *network, *IDENTITY, *KERNEL, *SHORT_LIVED, *FILES),
        *("--perms", "0755", "--dir", "/opt", "--perms", "0755", "--dir", "/opt/x"),
        *("--ro-bind", "/tree/tool", "/opt/x/tool", "--bind", "/tree/c", "/c"),
        *("--remount-ro", "/", "--chdir", "/", "--"),
        *("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"),
        *("/usr/bin/bwrap", "--unshare-user", "--disable-userns", "--die-with-parent", "--cap-drop", "ALL"),
        *(
            "--dev-bind",
            "/",
            "/",
            "--chdir",
            "/task/sub",
            "--",
            "/usr/bin/prlimit",
            "--cpu=3",
            "--",
            *HEED,
            "make",
        ),
    )


def test_directories_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    assert system_link(str(tmp_path)) == ""
    assert system_link(str(tmp_path / "link")) == "elsewhere"
    assert system_link(str(tmp_path / "none")) is None


def test_who_the_task_is() -> None:
    assert "nobody:x:65534:" in identity_files(65534)["group"]
    assert "task:x:1000:1000:task:/tmp:/bin/sh\n" in identity_files(1000)["passwd"]
