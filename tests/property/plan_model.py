"""What a plan does, told by the plainest code there could be: the reference of `test_plan_model`.

It follows the tape of a real engine, takes stops and crashes from it, and refuses the first entry it would not have made.
"""

from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from plan_cases import WORK, ElementSpec, Entry, PlanSpec

FOREVER, FINAL = float("inf"), ("failed", "cancelled", "succeeded")


class Crash(Exception): ...


class Model:
    """What is known of one run, over all its executions."""

    def __init__(self, plan: PlanSpec) -> None:
        self.plan, self.run = plan, "running"
        self.states = {element.name: "pending" for element in plan.elements}
        self.began: list[ElementSpec] = []
        self.doubt, self.stands, self.unclean = set[str](), set[str](), set[str]()
        self.count: Counter[str] = Counter()
        self.value = self.stored = 0

    def decide(self, go_on: bool) -> tuple[list[ElementSpec], list[ElementSpec], list[ElementSpec]] | None:
        """Return what a resume undoes first, works on, and cleans up at the end; None if it is refused."""
        undo, todo, later = [], [], []
        go_on = go_on and set(self.states.values()) != {"succeeded"}
        for before, element in zip([None, *self.plan.elements], self.plan.elements, strict=False):
            is_behind = not element.hooks and before in todo
            todo += [element] if go_on and (element.name not in self.stands or is_behind) else []
        for step in (element for element in self.began if "cleanup" in element.hooks):
            if step.name in self.stands:
                (later if go_on else undo).append(step)
            elif step.name in self.doubt | self.unclean:
                undo.append(step)
        refused = self.run == "succeeded" or (self.run in FINAL and not undo + todo + later)
        return None if refused else (undo, todo, later)

    def follow(self, tape: Iterable[Entry], go_on: bool | None = None) -> None:
        """Follow one execution: the first, or a resume."""
        self.tape, self.stop_at, self.limit_at, self.next_at = deque(tape), FOREVER, FOREVER, None
        self.errors, self.is_over = list[str](), False
        with suppress(Crash):
            self._execute(go_on)
        assert all(entry.kind in ("stop", "crash") for entry in self.tape), f"too much: {self.tape}"

    def _execute(self, go_on: bool | None) -> None:
        undo, todo, due = self.decide(go_on is not False) or ([], [], [])
        self.limit_at = self._expect("start", "", go_on) + (self.plan.limit or FOREVER)
        before, self.run, self.value, self.is_over = self.run, "interrupted", self.stored, not todo
        self.stands -= {element.name for element in todo}
        self.states |= {element.name: "pending" for element in todo}
        for name in [name for name, state in self.states.items() if not todo and state not in FINAL]:
            self.states[name] = "cancelled"
        for step in reversed(undo):
            self._clean(step)
        for number, element in enumerate(todo):
            if self._is_stopped() or (self.errors and not self.plan.goes_on):
                for other in todo[number:]:
                    self._end(other.name, 0, "cancelled")
                break
            self._work_on(element)
            due += [element] if element.name in self.stands and "cleanup" in element.hooks else []
        self.is_over = True
        for step in reversed(due):
            self._clean(step)
        ending = before if before in FINAL and not todo else min(self.states.values(), key=FINAL.index)
        ending = ending if self.stop_at == FOREVER else "cancelled"
        self._expect("finish", "", ending)
        self.run = ending

    def _work_on(self, element: ElementSpec) -> None:
        for left in reversed(range(element.retries + 1)):
            at = self._expect("begin", element.name, self.count["begin" + element.name] + 1)
            self.began = [other for other in self.began if other != element] + [element]
            self.doubt.add(element.name)
            result = self._attempt(element, at)
            if result != "failed" or not left or self._is_stopped():
                break
            at = self._expect("again", element.name, self.count["begin" + element.name])
            self.doubt.discard(element.name)
            if element.delay and self._is_stopped():
                break
            self.next_at = at + element.delay
        self._end(element.name, self.count["begin" + element.name], result)

    def _attempt(self, element: ElementSpec, at: float) -> str:
        result, limit = "succeeded", at + (element.timeout or FOREVER)
        for hook in (hook for hook in WORK if hook in element.hooks):
            if result == "succeeded":
                result = "cancelled" if self._is_stopped() else self._call(element, hook, limit)
        if not element.hooks:
            result = "cancelled" if self._is_stopped() else "succeeded"
            self.next_at = min(at + element.seconds, self.stop_at)
        return result

    def _clean(self, step: ElementSpec) -> None:
        at = self._expect("cleanup", step.name, self.count["cleanup" + step.name] + 1)
        self.doubt, self.stands = self.doubt - {step.name}, self.stands - {step.name}
        self.unclean.add(step.name)
        result = self._call(step, "cleanup", at + self.plan.cleanup_limit)
        self._expect("cleaned", step.name, result)
        self.unclean -= {step.name} if result == "succeeded" else set()

    def _call(self, step: ElementSpec, hook: str, limit: float) -> str:
        spec, name = step.hooks[hook], f"{step.name}.{hook}"
        self.value += spec.writes
        at = self._expect("call", name, self.value)
        is_stopped = self._is_stopped() and hook != "cleanup"
        self.next_at = until = min(at + spec.seconds, max(at, limit), self.stop_at if is_stopped else FOREVER)
        is_late = until < min(at + spec.seconds, self.stop_at if is_stopped else FOREVER)
        is_cut = not spec.stubborn and (is_stopped or is_late)
        fails = self.count["call" + name] in spec.bad
        self._expect("done", name, "cut" if is_cut else "fail" if fails else "ok")
        if spec.writes:
            self._expect("saved", step.name, self.value)
            self.stored = self.value
        return "cancelled" if is_cut and is_stopped else "failed" if is_late or fails else "succeeded"

    def _end(self, name: str, attempt: int, state: str) -> None:
        self._expect("end", name, (attempt, state))
        self.states[name] = state
        self.errors += [name] if state == "failed" else []
        self.doubt -= {name} if attempt else set()
        self.stands |= {name} if state == "succeeded" else set()

    def _is_stopped(self) -> bool:
        while self.tape and self.tape[0].kind == "stop":
            stop_at = self.tape.popleft().at
            self.stop_at = self.stop_at if self.is_over else min(self.stop_at, stop_at)
        return self.stop_at < FOREVER

    def _expect(self, *wanted: Any) -> float:
        self._is_stopped()
        entry = self.tape.popleft() if self.tape else Entry("nothing")
        if entry.kind == "crash":
            raise Crash
        at, self.next_at = entry.at if self.next_at is None else self.next_at, None
        assert entry == (*wanted, at), f"{(*wanted, at)} was expected, not {entry}"
        self.count[entry.kind + entry.name] += 1
        assert self.is_over or min(entry.at, self.stop_at) <= self.limit_at, f"after the limit: {entry}"
        return at
