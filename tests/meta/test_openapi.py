"""The shipped description of the server is the one that its endpoints give, and is valid."""

import importlib.resources
import json

from runwright.web.app import ENDPOINTS
from runwright.web.openapi import describe, text_of

SHIPPED = importlib.resources.files("runwright").joinpath("data", "openapi.json")


def test_the_shipped_description_is_current() -> None:
    """If this fails: python -c 'from tests.meta.test_openapi import write; write()' from the project's directory."""
    assert SHIPPED.read_text("utf-8") == text_of(ENDPOINTS)


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [each["operationId"] for path in describe(ENDPOINTS)["paths"].values() for each in path.values()]
    assert len(names) == len(set(names)) == len(ENDPOINTS)


def test_every_reference_leads_somewhere() -> None:
    text = text_of(ENDPOINTS)
    known = json.loads(text)["components"]["schemas"]
    found = {line.rpartition("/")[2].strip('", ') for line in text.splitlines() if '"$ref"' in line}
    assert found <= known.keys()
    assert {"Job", "SubmitRequest", "DequeueRequest", "ErrorAnswer"} <= found


def test_fields_are_explained_and_keep_the_names_of_the_protocol() -> None:
    schemas = describe(ENDPOINTS)["components"]["schemas"]
    asks = schemas["DequeueRequest"]["properties"]
    assert {"executorName", "version", "numCPUs", "memory", "diskSpace", "queues"} <= asks.keys()
    assert asks["executorName"]["description"] == "Name of the worker."
    assert "Attributes" not in json.dumps(schemas)
    assert "command" in schemas["CliStep"]["properties"]


def write() -> None:
    """Write the description anew."""
    with importlib.resources.as_file(SHIPPED) as path:
        path.write_text(text_of(ENDPOINTS), "utf-8")
