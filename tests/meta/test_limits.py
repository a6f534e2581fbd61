"""The page of limits names every bound that a user can meet."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src/runwright"
PAGE = (ROOT / "docs/reference/limits.md").read_text()
LIMIT = re.compile(
    r"_?(?:MOST|MAX|MIN|LONGEST|LARGEST|SHORTEST|LEAST|DEEPEST|SPARE)_?|.*_(?:BYTES|SECONDS|LENGTH)$"
)
OUTSIDE = ("testing/", "cli/render/")

DOCUMENTED = {
    "adapters/http/connection.py:ANSWER_SECONDS": "an answer 15 s more than it was asked to wait",
    "adapters/http/connection.py:CONNECT_SECONDS": "| connection to the server | 5 s;",
    "adapters/http/connection.py:MESSAGE_LENGTH": "| message of a server | 500 characters |",
    "adapters/http/connection.py:SILENCE_SECONDS": "60 s of silence are one break",
    "adapters/http/queue_api.py:LONGEST_PAUSE": "10 s for a log that is followed",
    "adapters/http/queue_api.py:MOST_TRIES": "| 30 tries in a row;",
    "cli/worker.py:SHORTEST_HEARTBEAT": "(`--heartbeat`, at least 100 ms)",
    "cli/worker_checks.py:LEAST_ROOM_BYTES": "| free disk that `doctor --worker` wants | 1 GiB |",
    "engines/heartbeats.py:LEAST_PATIENCE": "| as long as heartbeats are apart, at least 1 s |",
    "engines/heartbeats.py:NEGLECT_SECONDS": "whose main loop leaves such a job running | 1 s |",
    "engines/heartbeats.py:RETRY_SECONDS": "1 s after one that failed |",
    "engines/worker.py:LONGEST_PAUSE": "| 30 s for a job,",
    "engines/worker.py:QUIET_SECONDS": "told after 60 s |",
    "engines/worker_job.py:LONGEST_PAUSE": "5 s for a verdict,",
    "wiring/worker.py:VERSION_SECONDS": "| versions of programs, when a worker starts | 5 s |",
    "adapters/container_ledger.py:ANSWER_SECONDS": "| 30 s, 10 s at the start of a run |",
    "adapters/job_trees.py:DEEPEST_MEASURED": "200,000 files, 100 directories deep |",
    "adapters/job_trees.py:MOST_LEFT": "| things told of that could not be removed of a workspace | 20 |",
    "adapters/job_trees.py:MOST_MEASURED": "| workspace whose size can be measured | 200,000 files,",
    "core/file_names.py:LONGEST": "| name of a log file | 200 characters |",
    "adapters/plugin/files.py:NAME_BYTES": "4,096 bytes, 255 a name |",
    "adapters/plugin/files.py:PATH_BYTES": "| path of a file that travels | 4,096 bytes",
    "adapters/plugin/limits.py:MESSAGE_BYTES": "| message of a plugin, or to it | 4 MiB |",
    "adapters/plugin/limits.py:RESULT_BYTES": "| result of a plugin, all parts | 64 MiB |",
    "adapters/plugin/limits.py:SCHEMA_BYTES": "| schema that a plugin publishes | 256 KiB |",
    "adapters/plugin/process.py:UNHEARD_BYTES": "| the last 64 KiB are kept for the next one |",
    "adapters/plugin/schema.py:MOST_FAULTS": "| faults of arguments told | 10 |",
    "adapters/postgres/connection.py:CONNECT_SECONDS": "| one try to connect to PostgreSQL | 10 s |",
    "adapters/postgres/connection.py:PATIENCE_SECONDS": "| server of PostgreSQL that is lost meanwhile | 60 s |",
    "adapters/postgres/job_writer.py:PATIENCE_SECONDS": "| the same, under a queue of jobs | 30 s |",
    "adapters/sqlite/errors.py:BUSY_SECONDS": "| locked store | 60 s |",
    "adapters/threads.py:GRACE_SECONDS": "| a plain function in a thread, when its plan or goal is stopped | 10 s to return |",
    "adapters/toml.py:LONGEST_FILE": "| workflow file, plan file or goal file | 64 MiB |",
    "adapters/toml_syntax.py:MOST_ERRORS": "| errors of TOML's own syntax shown at once | 20;",
    "adapters/toml_syntax.py:MOST_TEXT": "1 in files above 256 KiB |",
    "cli/doctor.py:LEAST_BYTES": "64 MiB at least |",
    "cli/doctor.py:SPARE_BYTES": "| free disk that `doctor` wants | 1 GiB;",
    "cli/explain.py:MOST_ATTEMPTS": "3 attempts",
    "cli/explain.py:MOST_LINES": "| `explain` | 10 lines",
    "cli/explain_parts.py:MOST_NAMES": "3 names a line",
    "cli/logs.py:LONGEST_LINE": "| line shown by `logs` | 64 KiB at a time |",
    "cli/nested.py:DEEPEST": "| runs one inside the other | 50 levels are shown |",
    "cli/plan.py:LONGEST_COMMAND": "and `plan --dry-run` | 100 characters |",
    "cli/preview.py:LONGEST_COMMAND": "| command shown by `run --dry-run` and `plan --dry-run` | 100 characters |",
    "cli/resume.py:MOST_LINES": "| plan of `resume` | 40 tasks in each part |",
    "cli/status.py:MOST_RUNNING": "| `status` of a run | 20 running tasks |",
    "cli/status.py:SHORTEST_INTERVAL": "| `status --interval` | at least 0.1 s |",
    "cli/summary.py:MOST_FAILURES": "| summary of a run | 10 failures",
    "core/cacheentry.py:MOST_DETAILS": "| changes told of a task | 8 |",
    "core/cachekey.py:MOST_CHANGED": "| changed passage that is told with its text | 60 characters |",
    "core/cachekey.py:SHOWN_LENGTH": "that is kept to tell changes | 400 characters |",
    "core/check.py:MOST_SUGGESTIONS": "| 100 of each kind",
    "core/check_fields.py:MOST_NODES": "| nodes of one matrix | 1,000,000 |",
    "core/check_fields.py:MOST_RETRIES": "| `retries` | 1,000,000 |",
    "core/check_names.py:MOST_NAMES": "| 10,000 are checked by name |",
    "core/check_names.py:MOST_SUGGESTIONS": "| 100 of each kind",
    "core/condition.py:DEEPEST": "100 levels deep |",
    "core/condition.py:LONGEST": "| text of an `if` | 64 KiB",
    "core/duration.py:LARGEST": "1 EiB (2^60 bytes)",
    "core/duration.py:LONGEST": "| duration | 100 years |",
    "core/events.py:PROGRESS_OUTPUT_BYTES": "| output in one `task_output` event | 64 KiB |",
    "core/goal.py:LONGEST_CYCLE": "| rounds in a cycle that is seen as an oscillation | 50 |",
    "core/goal_document.py:MOST_COUNT": "`oscillation_limit` of a goal | 1,000,000 |",
    "core/goal_document.py:MOST_LINES": "| wrong lines shown of what a goal's `plan` printed | 20 |",
    "core/goal_document.py:MOST_SUGGESTIONS": "| 100 of each kind",
    "core/goalplace.py:LONGEST_ID": "| id of an action | 200 characters |",
    "core/job_check.py:LARGEST_FILES": "64 MiB of content together |",
    "core/job_check.py:LONGEST_ARGUMENT": "| argument of a command line step | 64 KiB |",
    "core/job_check.py:LONGEST_IMAGE": "| name of an image | 500 characters |",
    "core/job_check.py:LONGEST_KEY": "| key of a step | 100 characters |",
    "core/job_check.py:LONGEST_REDACTED": "| redacted values of a job | 1,000, each 64 KiB |",
    "core/job_check.py:LONGEST_SCRIPT": "commands or arguments, 1 MiB in all |",
    "core/job_check.py:LONGEST_VARIABLE": "1,000, each 64 KiB with its name |",
    "core/job_check.py:MOST_COMMANDS": "each with 10,000 commands or arguments,",
    "core/job_check.py:MOST_FAULTS": "| faults of a job told at once | 100 |",
    "core/job_check.py:MOST_FILES": "| files of a job | 10,000;",
    "core/job_check.py:MOST_PATTERNS": "| patterns of a sparse checkout | 10,000 |",
    "core/job_check.py:MOST_REDACTED": "| redacted values of a job | 1,000,",
    "core/job_check.py:MOST_REGISTRIES": "| registries that a job has credentials for | 100 |",
    "core/job_check.py:MOST_STEPS": "| steps of a job | 1,000,",
    "core/job_check.py:MOST_VARIABLES": "| variables of a step | 1,000,",
    "core/job_paths.py:LONGEST_PATH": "| path in a workspace | 4,096 bytes,",
    "core/job_paths.py:LONGEST_PATH_NAME": "4,096 bytes, 255 a name, 100 directories deep |",
    "core/job_rows.py:LONGEST_RETRY_DELAY": "| wait before a job is tried again | 1 h at most,",
    "core/job_rows.py:MAX_JOB_OUTPUT_BYTES": "| output of a job that is kept, all attempts | 1 GiB |",
    "core/job_paths.py:MOST_PATH_NAMES": "255 a name, 100 directories deep |",
    "core/repositories.py:LONGEST_COMMIT": "1,000 characters; a commit 250 |",
    "core/repositories.py:LONGEST_REPOSITORY": "| name or address of a repository | 1,000 characters;",
    "core/plan.py:CLEANUP_SECONDS": "| the cleanup of one step | `cleanup_timeout`, 300 s by default |",
    "core/planstate.py:VALUE_BYTES": "| value of a plan's state that is stored, as JSON | 64 KiB",
    "core/redact.py:MIN_LINE_BYTES": "its lines 6 |",
    "core/redact.py:MIN_SECRET_BYTES": "| secret | at least 3 bytes",
    "core/retry.py:LONGEST_DELAY": "| delay between attempts | 366 days |",
    "core/runvars.py:MAX_EXPORTED": "| variables in the environment of a task | 1,000 |",
    "core/runvars.py:VALUE_BYTES": "| one variable | 64 KiB |",
    "core/shape.py:MOST_SUGGESTIONS": "1,000 for unknown keys",
    "core/suggest.py:MOST_CANDIDATES": "20,000 candidates each |",
    "core/variables.py:MOST_WRITTEN": "| names told of what a task did write | 8 |",
    "engines/aftermath.py:AFTERMATH_SECONDS": "| a handler, or the cleanups of one task | 300 s",
    "engines/functions.py:TRACEBACK_BYTES": "in a failure | 4 KiB |",
    "engines/driver.py:MOST_SPARED": "| tasks found up to date in one turn | 256 |",
    "engines/leasekeeper.py:LEASE_SECONDS": "| 30 s, renewed every 8 s |",
    "engines/leasekeeper.py:LISTEN_SECONDS": "| noticed within 0.5 s |",
    "engines/leasekeeper.py:RENEW_SECONDS": "| 30 s, renewed every 8 s |",
    "engines/parent.py:DEEPEST": "| runs inside one another | 50 below the outermost",
    "engines/steps.py:LONGEST_NAME": "| name of a step made in code | 200 characters",
    "engines/workflow.py:REASON_LENGTH": "| reason of a failed run | 500 characters |",
    "executors/goal_commands.py:LONGEST_PLAN": "| what the commands of a goal's `plan` print | 1 MiB |",
    "executors/output_file.py:MAX_BYTES": "| file at `$RUNWRIGHT_OUTPUT`, `$RUNWRIGHT_STATE` or `$RUNWRIGHT_ACTIONS` | 1 MiB |",
    "executors/followups.py:MOST_SHOWN": "| errors told in the message of a `TasksFailed` | 3 |",
    "executors/sandbox_files.py:MOST_SINGLE": "directories that are also written to | 500 |",
    "executors/container_engine.py:ANSWER_SECONDS": "| 30 s, 10 s at the start of a run |",
    "executors/cache_threads.py:IN_PASSING_BYTES": "in the event loop for one task | 4 MiB |",
    "executors/cache_tree.py:LARGE_BYTES": "in the event loop for one task | 4 MiB |",
    "executors/python.py:TRACEBACK_BYTES": "in a failure | 4 KiB |",
    "executors/command_output.py:LINE_BYTES": "| line that `register` takes | 64 KiB |",
    "executors/command_output.py:STDERR_BYTES": "in a failure | 4 KiB |",
}
NO_CONCERN = {
    "adapters/http/connection.py:KEEP_SECONDS": "how long connections are kept for their next use",
    "adapters/side_loop.py:JOIN_SECONDS": "the end of a thread whose work has ended",
    "adapters/worker_home.py:ID_BYTES": "the length of an id",
    "engines/heartbeats.py:LOOK_SECONDS": "how often is looked for what nobody tells",
    "engines/worker.py:LOOK_SECONDS": "as above",
    "engines/worker_job.py:LOOK_SECONDS": "as above",
    "wiring/worker.py:NAME_BYTES": "the length of an id",
    "engines/driver.py:LARGEST_WINDOW": "how many attempts are reserved at once",
    "adapters/cachetree.py:SLACK_BYTES": "when a log is written anew",
    "core/cacheentry.py:CHECK_BYTES": "the digest before what is stored",
    "adapters/job_trees.py:BLOCK_BYTES": "the unit in which the kernel counts",
    "adapters/logs.py:COPY_BYTES": "how much is copied at a time",
    "adapters/logs.py:LEAST_SEGMENT": "how the tail of a log is cut into files",
    "adapters/logfiles.py:LEAST_CUT": "the room for the mark of a cut",
    "adapters/plugin/folder.py:LONGEST": "where the directory of a socket is put",
    "adapters/plugin/hosting.py:INPUT_BYTES": "no bound: Runwright itself sends the inputs",
    "adapters/plugin/limits.py:CHUNK_BYTES": "how much of a file goes into one message",
    "adapters/plugin/limits.py:LOG_BYTES": "how much of a log goes into one message",
    "adapters/plugin/outbox.py:ROOM_BYTES": "what may be on its way within a plugin",
    "adapters/plugin/process.py:ERROR_BYTES": "what is looked at for the end of stderr",
    "adapters/postgres/connection.py:_LONGEST_PAUSE": "how often a lost server is tried",
    "adapters/postgres/job_bell.py:_PAUSE_SECONDS": "how often a lost server is tried",
    "adapters/postgres/job_writer.py:MOST_CALLS": "how commits are gathered",
    "adapters/postgres/jobs.py:LOOK_SECONDS": "a second way to hear of jobs, which is hardly ever needed",
    "adapters/postgres/jobs.py:_MOST_IDS": "the numbers that PostgreSQL has",
    "adapters/process.py:REPORT_BYTES": "a message between our own processes",
    "adapters/sqlite/job_actions.py:_MOST_IDS": "the numbers that SQLite has",
    "adapters/sqlite/job_bell.py:LOOK_SECONDS": "how soon what another process queues is seen",
    "adapters/sqlite/job_exchange.py:_MOST_PASSED_OVER": "how jobs are chosen where keys are limited",
    "adapters/sqlite/job_writer.py:MOST_CALLS": "how commits are gathered",
    "adapters/sqlite/reader.py:_MOST_TRIES": "part of the patience with a locked store",
    "adapters/sqlstore/writer.py:LINGER_SECONDS": "how commits are gathered",
    "adapters/sqlstore/writer.py:_MOST_TRIES": "part of the patience with a locked store",
    "adapters/warden/main.py:MOST_FILES": "descriptors that are closed in the process that watches over others",
    "cli/cache.py:KEY_LENGTH": "how many characters of a key are shown",
    "cli/common.py:ID_LENGTH": "the length of an id",
    "cli/common.py:SHORTEST_ID": "how many characters of an id are shown",
    "core/duration.py:_LONGEST_TEXT": "no duration is written longer",
}


def limits() -> set[str]:
    """Return every constant of the sources that is a number and, by its name, a bound."""
    found = set()
    for path in SRC.rglob("*.py"):
        name = path.relative_to(SRC).as_posix()
        for node in [] if name.startswith(OUTSIDE) else ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                constant = node.targets[0].id
                if constant.isupper() and LIMIT.match(constant) and _is_number(node.value):
                    found.add(f"{name}:{constant}")
    return found


def _is_number(value: ast.expr) -> bool:
    names = (ast.Constant, ast.BinOp)
    return isinstance(value, names) and not any(
        isinstance(part, ast.Constant) and not isinstance(part.value, int | float) for part in ast.walk(value)
    )


def test_every_limit_is_known() -> None:
    assert limits() - DOCUMENTED.keys() - NO_CONCERN.keys() == set(), "add it to limits.md and to this test"


def test_no_limit_is_listed_that_is_gone() -> None:
    assert (DOCUMENTED.keys() | NO_CONCERN.keys()) - limits() == set()


@pytest.mark.parametrize("constant", DOCUMENTED)
def test_the_page_tells_a_limit(constant: str) -> None:
    assert DOCUMENTED[constant] in PAGE
