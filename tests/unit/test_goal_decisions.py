"""What a control loop decides between its rounds, and under which ids its actions stand."""

import random

import pytest

from runwright.core.goal import (
    LONGEST_CYCLE,
    GiveUp,
    GoalOptions,
    History,
    Round,
    Sleep,
    budget_text,
    cycle_length,
    oscillation_text,
)
from runwright.core.goalplace import LONGEST_ID, Ids, printable


def good(number: int, *actions: str, succeeded: int | None = None, errors: int = 0) -> Round:
    done = len(actions) if succeeded is None else succeeded
    return Round(number=number, actions=actions, succeeded=done, errors=errors)


def delays(options: GoalOptions, *rounds: Round) -> list[float]:
    history = History(options)
    found = [history.after(round_) for round_ in rounds]
    assert all(isinstance(one, Sleep) for one in found), found
    return [one.seconds for one in found if isinstance(one, Sleep)]


def test_the_budget_is_spent_by_one_error_more_than_is_tolerated() -> None:
    history = History(GoalOptions(errors_to_tolerate=2))
    seen = []
    for _ in range(3):
        history.errors += 1
        seen.append(history.is_spent)
    assert seen == [False, False, True]
    assert not History(GoalOptions(errors_to_tolerate=0)).is_spent


def test_a_fruitful_round_is_followed_by_the_plain_wait() -> None:
    assert delays(GoalOptions(sleep_between_runs=2), good(1, "a"), good(2, "b"), good(3, "a")) == [2, 2, 2]


def test_each_further_fruitless_round_doubles_the_wait() -> None:
    rounds = [good(number, "a", succeeded=0, errors=1) for number in range(1, 9)]
    assert delays(GoalOptions(sleep_between_runs=1, longest_sleep=20), *rounds) == [
        1,
        2,
        4,
        8,
        16,
        20,
        20,
        20,
    ]


def test_a_round_that_needs_the_same_again_is_fruitless_whatever_succeeded() -> None:
    rounds = [good(1, "a", "b"), good(2, "b", "a"), good(3, "a", "b"), good(4, "a"), good(5, "c")]
    assert delays(GoalOptions(sleep_between_runs=1), *rounds) == [1, 1, 2, 1, 1]


def test_a_goal_that_could_not_say_is_fruitless_and_makes_nothing_new_of_the_same_need() -> None:
    silent = Round(number=2, actions=(), errors=1)
    rounds = [good(1, "a"), silent, silent, good(4, "a"), good(5, "b")]
    assert delays(GoalOptions(sleep_between_runs=1), *rounds) == [1, 1, 2, 4, 1]


def test_the_wait_never_shrinks_below_the_plain_one_and_never_overflows() -> None:
    options = GoalOptions(sleep_between_runs=5, longest_sleep=1)
    assert set(delays(options, *(good(number, "a", succeeded=0, errors=1) for number in range(200)))) == {5}
    endless = GoalOptions(sleep_between_runs=1, longest_sleep=1e300)
    assert (
        delays(endless, *(good(number, "a", succeeded=0, errors=1) for number in range(2000)))[-1] == 2.0**64
    )
    assert delays(GoalOptions(sleep_between_runs=0), good(1, "a"), good(2, "a"), good(3, "a")) == [0, 0, 0]


def decide(limit: int, plans: list[str], errors: int = 0) -> list[int]:
    """Return the numbers of the rounds after which the loop gives up."""
    history = History(GoalOptions(oscillation_limit=limit))
    rounds = [good(number, *plan, errors=errors) for number, plan in enumerate(plans, 1)]
    return [one.number for one in rounds if isinstance(history.after(one), GiveUp)]


def test_a_repeated_cycle_without_an_error_is_an_oscillation() -> None:
    assert decide(3, ["a"] * 3) == [3]
    assert decide(3, ["a", "b"] * 3) == [6]
    assert decide(3, ["x", "y", "a", "b", "c", "a", "b", "c", "a", "b", "c"]) == [11]
    assert decide(3, ["a", "b"] * 2) == []


def test_rounds_that_need_the_same_in_another_order_are_the_same() -> None:
    assert decide(2, ["ab", "ba"]) == [2]
    assert decide(2, ["aab", "abb"]) == []


def test_an_error_breaks_the_cycle() -> None:
    history = History(GoalOptions(oscillation_limit=2))
    rounds = [good(1, "a"), good(2, "a", errors=1), good(3, "a"), good(4, "a")]
    assert [isinstance(history.after(one), GiveUp) for one in rounds] == [False, False, False, True]
    assert decide(2, ["a"] * 40, errors=1) == []


def test_no_limit_means_never_and_once_is_no_repetition() -> None:
    assert decide(0, ["a"] * 2000) == []
    assert decide(1, ["a", "b"]) == []
    assert decide(1, ["a", "a"]) == [2]


def test_the_longest_cycle_is_found_and_no_longer_one() -> None:
    longest = [f"{number:03}" for number in range(LONGEST_CYCLE)]
    assert decide(2, [*longest, *longest]) == [2 * LONGEST_CYCLE]
    assert decide(2, [*longest, "one more"] * 3) == []


def test_the_report_names_the_rounds_of_the_shortest_cycle() -> None:
    history = History(GoalOptions(oscillation_limit=2))
    rounds = [good(1, "z"), good(2, "a"), good(3, "b", "c"), good(4, "a"), good(5, "c", "b")]
    decision = [history.after(one) for one in rounds][-1]
    assert isinstance(decision, GiveUp)
    assert [one.number for one in decision.cycle] == [4, 5]
    assert decision.repetitions == 2
    assert oscillation_text(decision.cycle, decision.repetitions) == (
        "the same 2 rounds came 2 times in a row without an error and without reaching the goal "
        "(round 4: a; round 5: c, b)"
    )
    assert oscillation_text((rounds[0],), 10).startswith("the same round came 10 times in a row")


def test_cycles_are_found_as_by_looking_at_every_one() -> None:
    for seed in range(300):
        dice = random.Random(seed)
        needs = [dice.choice([b"a", b"b"]) for _ in range(dice.randint(0, 14))]
        limit = dice.randint(2, 4)
        lengths = [
            length
            for length in range(1, len(needs) // limit + 1)
            if needs[-length * limit :] == needs[-length:] * limit
        ]
        assert cycle_length(needs, limit) == (lengths[0] if lengths else 0), f"seed {seed}: {needs} {limit}"


def test_the_budget_is_told_in_numbers() -> None:
    assert budget_text(6, 5) == "6 errors, and 5 are tolerated"
    assert budget_text(2, 1) == "2 errors, and 1 is tolerated"
    assert budget_text(1, 0) == "1 error, and 0 are tolerated"


# -- ids


def test_an_action_stands_below_its_round_and_a_child_below_its_parent() -> None:
    ids = Ids(3)
    assert ids.take(ids.round, "make x") == "3.make x"
    assert ids.take("3.make x", "link") == "3.make x.link"


def test_a_name_that_repeats_gets_a_number() -> None:
    ids = Ids(1)
    assert [ids.take("1", "a") for _ in range(3)] == ["1.a", "1.a#2", "1.a#3"]
    assert ids.take("1", "b.c") == "1.b.c"
    assert [ids.take("1", "b"), ids.take("1.b", "c")] == ["1.b", "1.b.c#2"]


def test_control_characters_are_replaced() -> None:
    assert Ids(1).take("1", "a\n\x1b[0m\ud800") == "1.a��[0m�"
    assert printable("Übung 1") == "Übung 1"


@pytest.mark.parametrize("length", [LONGEST_ID - 2, LONGEST_ID - 1, 5000])
def test_a_long_id_is_cut_and_stays_one_of_its_own(length: int) -> None:
    ids = Ids(1)
    one, two = ids.take("1", "x" * length), ids.take("1", "x" * (length - 1) + "y")
    assert one != two
    assert max(len(one), len(two)) <= LONGEST_ID
    again = ids.take("1", "x" * length)
    assert again not in (one, two)
    child = ids.take(one, "y" * 300)
    assert len(child) <= LONGEST_ID
    assert child.startswith("1.xxx")
