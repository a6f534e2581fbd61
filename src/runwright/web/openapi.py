"""The OpenAPI description of the server, made from its endpoints and the types of their records."""

import re
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import structs

from runwright.core.job import Job
from runwright.core.job_requests import NAME
from runwright.web.auth import LEASE_SCHEME, WORKER_SCHEME
from runwright.web.endpoint import Access, Endpoint
from runwright.web.refusals import JSON, ErrorAnswer

API_VERSION = "1"

REASONS = {
    400: "The body is no JSON, or a header is missing.",
    401: "There is no token, or it is unknown or revoked.",
    403: "The token is good, but not for this.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "It can't be done to the job as it is.",
    413: "The body is too large.",
    422: "The request has not the right shape, or says something that can't be.",
    429: "Too many wrong tokens.",
    503: "The store can't be reached, or there is too much at a time.",
}
OF_TOKENS = (401, 403, 429)
OF_BODIES = (400, 408, 413)
SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.ADMIN: [{"admin": []}],
    Access.WORKER: [{"worker": []}],
    Access.LEASE: [{"lease": []}, {"worker": []}],
}
ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n     .+)*)", re.MULTILINE)
HEADERS = ("X-Sourcegraph-Job-ID", "X-Sourcegraph-Executor-Name")
JOB = {
    "type": "object",
    "description": "The document of a job, version 1 or 2; the schema Job is that of version 2.",
}
QUEUE = {"type": "string", "pattern": f"^{NAME.pattern}$"}
REF = "#/components/schemas/{name}"


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description of endpoints, OpenAPI 3.1, as plain data."""
    types = list(dict.fromkeys([ErrorAnswer, Job, *_types(endpoints)]))
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    components["SubmitRequest"]["properties"] |= {"job": JOB, "queue": QUEUE}
    for component in components.values():
        _explain(component)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Runwright job queue", "version": API_VERSION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _schemes()},
    }


def text_of(endpoints: Sequence[Endpoint]) -> str:
    """Return the description as it is shipped."""
    return msgspec.json.format(msgspec.json.encode(describe(endpoints)), indent=1).decode() + "\n"


def _explain(component: dict[str, Any]) -> None:
    """Give what a record's docstring says of its fields to the fields."""
    text, _, attributes = cleandoc(component.get("description", "")).partition("\n\nAttributes:\n")
    if text:
        component["description"] = " ".join(text.split())
    for found in ATTRIBUTE.finditer(attributes):
        field = component["properties"].get(_camel(found[1])) or component["properties"].get(found[1])
        if field is not None:
            field["description"] = " ".join(found[2].split())


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _types(endpoints: Iterable[Endpoint]) -> Iterable[Any]:
    for endpoint in endpoints:
        yield from (kind for kind in (endpoint.body, endpoint.query) if kind is not None)
        yield from (kind for _, kind in endpoint.answers.values() if kind is not None)


def _schemes() -> dict[str, Any]:
    worker = f"`{WORKER_SCHEME} TOKEN`, with the token of a worker"
    return {
        "admin": {"type": "http", "scheme": LEASE_SCHEME.lower(), "description": "The token of an admin."},
        "lease": {"type": "http", "scheme": LEASE_SCHEME.lower(), "description": "The token of the job."},
        "worker": {"type": "apiKey", "in": "header", "name": "Authorization", "description": worker},
    }


def _operation(endpoint: Endpoint, by_type: dict[Any, Any]) -> dict[str, Any]:
    name = getattr(endpoint.handler, "__name__", "")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": endpoint.summary,
        "security": SECURITY[endpoint.access],
        "parameters": [*_path_parameters(endpoint), *_headers(endpoint), *_query(endpoint)],
        "responses": _responses(endpoint, by_type),
    }
    if endpoint.body is not None:
        content = {JSON: {"schema": by_type[endpoint.body]}}
        operation["requestBody"] = {"required": not endpoint.body_optional, "content": content}
    return operation


def _path_parameters(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        schema = {"type": "integer", "minimum": 1} if name == "id" else QUEUE
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _headers(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    """Yield the headers that go with the token of a lease; old workers show their own token without them."""
    if endpoint.access is Access.LEASE:
        for name in HEADERS:
            yield {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _query(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    if endpoint.query is None:
        return
    for field in structs.fields(endpoint.query):
        schema = msgspec.json.schema(field.type)
        if "$ref" in schema:
            schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        yield {"name": field.encode_name, "in": "query", "required": False, "schema": _plain(schema)}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a part of a query: left out there means null here."""
    if "anyOf" not in schema:
        return schema
    (kept,) = (each for each in schema["anyOf"] if each.get("type") != "null")
    found: dict[str, Any] = schema.get("$defs", {}).get(kept.get("$ref", "").rpartition("/")[2], kept)
    return found


def _responses(endpoint: Endpoint, by_type: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, (text, kind) in endpoint.answers.items():
        found[str(status)] = {"description": text}
        if kind is not None:
            found[str(status)]["content"] = {endpoint.media: {"schema": by_type[kind]}}
    error = {JSON: {"schema": by_type[ErrorAnswer]}}
    for status in sorted(_refusals(endpoint)):
        found[str(status)] = {"description": REASONS[status], "content": error}
    return found


def _refusals(endpoint: Endpoint) -> set[int]:
    may = {503, *endpoint.refusals}
    if endpoint.access is not Access.OPEN:
        may.update(OF_TOKENS)
    if endpoint.access is Access.LEASE:
        may.add(400)
    if endpoint.body is not None or endpoint.query is not None:
        may.add(422)
    if endpoint.body is not None:
        may.update(OF_BODIES)
    return may
