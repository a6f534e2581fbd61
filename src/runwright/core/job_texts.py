"""What the stores of jobs say when they refuse something."""

from runwright.core.job_rows import MAX_JOB_OUTPUT_BYTES, JobLease
from runwright.core.states import JobState


def no_job_text(job_id: int) -> str:
    """Say that there is no such job, and what to do."""
    return f"there is no job {job_id}; `runwright jobs list` shows those there are"


def no_entry_text(lease: JobLease, number: int) -> str:
    """Say that an attempt has no such entry of the log."""
    return f"the log of job {lease.job_id} has no entry {number} in attempt {lease.attempt}; begin it first"


def lost_text(lease: JobLease) -> str:
    """Say that a lease is stale, and what to do."""
    return (
        f"the lease on job {lease.job_id} (attempt {lease.attempt}) has passed on; stop the job, "
        "none of what it still does is kept"
    )


def ended_text(job_id: int, state: JobState, wish: str) -> str:
    """Say that a job is in a state in which it can't do what is wished, for instance ``be canceled``."""
    return f"job {job_id} is {state.value} and can't {wish}; `runwright jobs show {job_id}` tells more"


def gap_text(number: int, size_bytes: int, offset: int) -> str:
    """Say that output between what is there and what came is missing, and where to go on."""
    return (
        f"entry {number} has {size_bytes} bytes of output and this begins at {offset}; "
        f"send what follows the first {size_bytes} bytes"
    )


def too_much_output_text(job_id: int) -> str:
    """Say that no more output of a job is kept."""
    return f"job {job_id} has put out more than {MAX_JOB_OUTPUT_BYTES >> 20} MiB, the most that is kept; let it say less"


def token_is_there_text(name: str) -> str:
    """Say that a name is taken, and what to do."""
    return f"there is a token {name} already; revoke it with `runwright tokens revoke {name}`, or take another name"


def no_token_text(name: str) -> str:
    """Say that there is no such token, and what to do."""
    return f"there is no token {name}; `runwright tokens list` shows those there are"
