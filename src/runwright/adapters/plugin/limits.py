"""What plugins are held to, and the names that both sides agree on."""

from msgspec import Struct

from runwright.core.errors import Failure, TaskFailed, UsageError

VERSIONS = (1,)
"""Versions of the protocol that are spoken, the best first."""

SOCKET = "RUNWRIGHT_PLUGIN_SOCKET"
"""Environment variable with the path of the Unix socket that a plugin listens on."""

MESSAGE_BYTES = 4 << 20
"""Most bytes of one message, either way; what gRPC allows by itself in every language."""

RESULT_BYTES = 64 << 20
"""Most bytes of one result, all its parts together."""

SCHEMA_BYTES = 256 << 10
"""Most bytes of a schema of arguments."""

CHUNK_BYTES = 256 << 10
"""Bytes of a file that go into one message."""

LOG_BYTES = 64 << 10
"""Most bytes of output that `serve` puts into one message."""

TEXT_CHARACTERS = 4096
"""Most characters of a failure's message, and of its end of standard error."""

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
"""A compressed message that unpacks to more than the limit is refused like a plain one."""

SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
)


class PluginOptions(Struct, frozen=True, kw_only=True):
    """How a plugin is treated; times are seconds.

    Attributes:
        startup_timeout: From its start to its handshake.
        shared_files: It sees the files of this machine; else inputs and outputs are sent.
        health_interval: Between two looks at its health.
        health_timeout: For an answer about its health; two in a row that don't come mean that it hangs.
        stop_grace: For a task to end once it is stopped, and for a session to be closed; then the plugin is ended.
        kill_grace: Between SIGTERM and SIGKILL when it is ended.
        output_bytes: Most bytes of output files of one task, if they are sent.
    """

    startup_timeout: float = 10.0
    shared_files: bool = True
    health_interval: float = 2.0
    health_timeout: float = 5.0
    stop_grace: float = 15.0
    kill_grace: float = 1.0
    output_bytes: int = 1 << 30


def failed(code: str, message: str, **more: object) -> TaskFailed:
    """Return the error of a task that a plugin has failed."""
    return TaskFailed(Failure(code=code, message=message, **more))  # type: ignore[arg-type]


def require_grpc() -> None:
    """Find out whether gRPC is installed, without loading it.

    Raises:
        UsageError: If it is not.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only plugins ask

    missing = [name for name in ("grpc", "grpc_health", "jsonschema") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"plugins need the extra grpc ({', '.join(missing)} can't be found): pip install 'runwright[grpc]'"
        )
