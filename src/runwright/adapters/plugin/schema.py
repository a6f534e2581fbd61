"""The arguments of a plugin's tasks, checked against the schema that it publishes."""

from collections.abc import Mapping
from typing import Any

import msgspec

from runwright.adapters.plugin.limits import SCHEMA_BYTES, failed
from runwright.adapters.plugin.messages import Lie
from runwright.ports.executor import Session

MOST_FAULTS = 10


class ArgsSchema:
    """A JSON Schema (draft 2020-12, unless it says otherwise); a reference out of itself is never followed.

    Args:
        text: The schema as JSON; empty for one that takes whatever comes.

    Raises:
        Lie: If it is no schema.
    """

    def __init__(self, text: str) -> None:
        self._validator = _validator(text) if text else None

    def check(self, args: Mapping[str, Any], session: Session, plugin: str) -> None:
        """Check arguments.

        Raises:
            TaskFailed: With code ``E_ARGS``, naming up to ten faults.
        """
        if self._validator is None:
            return
        try:
            faults = [_told(fault) for fault in self._validator.iter_errors(args)]
        except Exception as error:  # whatever a wild schema makes of it
            raise failed("E_PLUGIN", f"{plugin}: its schema can't be applied: {error}") from None
        if faults:
            text = "; ".join(sorted(faults)[:MOST_FAULTS])
            raise failed("E_ARGS", session.redact(f"{plugin}: {text}"))


def _validator(text: str) -> Any:
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - only plugins with a schema need it
    from jsonschema.validators import validator_for  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    if len(text) > SCHEMA_BYTES:
        raise Lie(f"its schema takes {len(text)} bytes; the most is {SCHEMA_BYTES}")
    try:
        schema = msgspec.json.decode(text)
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
    except (msgspec.DecodeError, SchemaError, RecursionError, TypeError, AttributeError) as error:
        raise Lie(f"its schema is none: {str(error).splitlines()[0]}") from None
    return kind(schema, registry=Registry())


def _told(fault: Any) -> str:
    return f"{fault.json_path.replace('$', 'args', 1)}: {fault.message}"
