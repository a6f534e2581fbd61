"""The JSON Schema of workflow files, for editors."""

from typing import Any

import msgspec

from runwright.core.document import TaskTable, WorkflowTable

_ONE_WAY = [{"required": ["cmd"]}, {"required": ["argv"]}, {"required": ["executor"]}]


def workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a workflow file, made from the same records that read it."""
    schema = msgspec.json.schema(WorkflowTable)
    tables = schema["$defs"]
    tables[TaskTable.__name__]["anyOf"] = _ONE_WAY
    tables[WorkflowTable.__name__]["required"] = ["tasks"]
    tables[WorkflowTable.__name__]["properties"]["tasks"]["minProperties"] = 1
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Runwright workflow",
        **schema,
    }


def schema_text() -> str:
    """Return the schema as the text of the file that is shipped."""
    return msgspec.json.format(msgspec.json.encode(workflow_schema()), indent=2).decode() + "\n"
