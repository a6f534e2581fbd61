"""Generated requests against a running server: it answers what its description says, and never with a bug.

The seed is fixed unless RUNWRIGHT_SEED says otherwise; it is printed.
"""

import importlib.resources
import json
import os
from collections.abc import Iterator

import pytest
import schemathesis
from cli_project import Project
from hypothesis import HealthCheck, Phase, given, seed, settings
from queue_server import STEPS, Held, Server, fresh, serving
from schemathesis import GenerationMode
from schemathesis.checks import (
    not_a_server_error,
)
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

TEXT = importlib.resources.files("runwright").joinpath("data", "openapi.json").read_text("utf-8")
SCHEMA = schemathesis.openapi.from_dict(json.loads(TEXT))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260101"))
EXAMPLES = 25


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("openapi")
    with serving(Project(folder), f"sqlite:///{folder}/jobs.db", "--lease", "1h") as running:
        yield running


@pytest.fixture(scope="module")
def held(server: Server) -> Held:
    """A job that is being worked on, so that requests for it get far."""
    queue = fresh("q")
    server.submit(queue)
    return Held(server, queue)


def headers_for(label: str, server: Server, held: Held) -> dict[str, str]:
    if "/.executors/" not in label:
        return {"Authorization": f"Bearer {server.admin}"}
    if any(name in label for name in ("auth", "dequeue", "heartbeat", "canceled")):
        return {"Authorization": f"token-executor {server.worker}"}
    return held.headers


def case_ids(label: str, held: Held) -> dict[str, object] | None:
    if "{id}" in label:
        return {"id": held.id}
    return {"queue": held.queue} if "{queue}" in label else None


def make_it_fit(case: schemathesis.Case, held: Held) -> None:
    """Put into a request what chance does not find, so that it gets far; a log is not followed for ever."""
    if case.query:
        case.query.pop("follow", None)
    if not isinstance(case.body, dict):
        return
    for name, value in (("jobId", held.id), ("executorName", held.worker), ("queue", held.queue)):
        if name in case.body and len(str(case.body)) % 4:
            case.body[name] = value
    if isinstance(case.body.get("job"), dict) and len(str(case.body)) % 4:
        case.body["job"] = STEPS


def _parts(operation: schemathesis.schemas.APIOperation) -> list[object]:
    parts = (operation.body, operation.query, operation.headers, operation.path_parameters)
    return [part for part in parts if part]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_the_server_answers_as_its_description_says(
    server: Server, held: Held, label: str, mode: GenerationMode
) -> None:
    print(f"seed {SEED}")
    operation = OPERATIONS[label]
    headers = headers_for(label, server, held)
    places = case_ids(label, held) if mode is GenerationMode.POSITIVE else None
    statuses: set[int] = set()

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=places))
    def asked(case: schemathesis.Case) -> None:
        make_it_fit(case, held)
        answer = case.call(base_url=server.url, headers=headers, timeout=30)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    if mode is GenerationMode.NEGATIVE and not _parts(operation):
        pytest.skip("there is nothing in this request that could be wrong")
    asked()
    print(sorted(statuses))
    assert statuses


def test_the_check_would_find_an_answer_that_is_not_described(server: Server) -> None:
    """The control: against a description that promises something else, the same check fails."""
    wrong = json.loads(TEXT)
    wrong["components"]["schemas"]["Health"]["properties"]["status"]["type"] = "integer"
    operation = schemathesis.openapi.from_dict(wrong)["/healthz"]["GET"]

    @settings(max_examples=1, database=None, deadline=None)
    @given(case=operation.as_strategy())
    def asked(case: schemathesis.Case) -> None:
        case.validate_response(case.call(base_url=server.url), checks=CHECKS)

    with pytest.raises(BaseException, match="integer"):
        asked()
