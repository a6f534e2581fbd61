"""The choices for a run, and how a resume carries them over."""

from runwright.core.options import FailurePolicy, RunOptions


def test_a_resume_keeps_what_it_does_not_say() -> None:
    first = RunOptions(
        variables={"a": "1", "b": "2"},
        clean_env=True,
        timeout=5.0,
        failure_policy=FailurePolicy.KEEP_GOING,
        tags=("x",),
        directory="/somewhere",
    )
    merged = first.carried_over(RunOptions(variables={"b": "3"}))
    assert merged == RunOptions(
        variables={"a": "1", "b": "3"},
        clean_env=True,
        timeout=5.0,
        failure_policy=FailurePolicy.KEEP_GOING,
        tags=("x",),
        directory="/somewhere",
    )


def test_a_resume_changes_what_it_says() -> None:
    first = RunOptions(timeout=5.0, failure_policy=FailurePolicy.KEEP_GOING)
    merged = first.carried_over(RunOptions(timeout=9.0, failure_policy=FailurePolicy.FAIL_FAST))
    assert (merged.timeout, merged.failure_policy) == (9.0, FailurePolicy.FAIL_FAST)


def test_which_tasks_run_and_who_listens_is_chosen_anew() -> None:
    first = RunOptions(only=("a",), start_from=("b",), pinned=True, print_output=True, progress=print)
    assert first.carried_over(RunOptions()) == RunOptions()
    assert RunOptions().carried_over(first) == first
