"""The JSON Schemas of definition files, for editors."""

from typing import Any

import msgspec
from msgspec import Struct

from runwright.core.document import TaskTable, WorkflowTable
from runwright.core.goal_document import GoalTable
from runwright.core.kinds import FileKind
from runwright.core.plan import Hook
from runwright.core.plan_document import PAUSE_KEYS, PlanTable, StepTable

_TABLES: dict[FileKind, type[Struct]] = {
    FileKind.WORKFLOW: WorkflowTable,
    FileKind.PLAN: PlanTable,
    FileKind.GOAL: GoalTable,
}
_ONE_WAY = [{"required": ["cmd"]}, {"required": ["argv"]}, {"required": ["executor"]}]
_STEP = {"required": ["name"], "anyOf": [{"required": [hook.value]} for hook in Hook]}
_PAUSE = {"required": ["pause"], "propertyNames": {"enum": list(PAUSE_KEYS)}}


def schema(kind: FileKind) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a kind of file, made from the same records that read it."""
    table = _TABLES[kind]
    made = msgspec.json.schema(table)
    _complete(made["$defs"])
    made["$defs"][table.__name__]["required"] = [kind.key]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Runwright {kind.value}",
        **made,
    }


def _complete(tables: dict[str, Any]) -> None:
    """Add what the types of the records can't say."""
    if TaskTable.__name__ in tables:
        tables[TaskTable.__name__]["anyOf"] = _ONE_WAY
        tables[WorkflowTable.__name__]["properties"]["tasks"]["minProperties"] = 1
    if StepTable.__name__ in tables:
        tables[StepTable.__name__]["if"] = {"required": ["pause"]}
        tables[StepTable.__name__]["then"] = _PAUSE
        tables[StepTable.__name__]["else"] = _STEP
        tables[PlanTable.__name__]["properties"]["steps"]["minItems"] = 1


def schema_text(kind: FileKind) -> str:
    """Return the schema as the text of the file that is shipped."""
    return msgspec.json.format(msgspec.json.encode(schema(kind)), indent=2).decode() + "\n"
