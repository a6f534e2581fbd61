"""What a hostile step can't do in other rooms, it can't do in a machine either; each attempt succeeds in the plain shell."""

import stat
from pathlib import Path

import pytest
from machines import Machines, needs_machines
from test_job_rooms_hostile import (
    canary,
    test_a_link_in_the_workspace_leads_only_to_what_the_step_sees,
    test_a_step_has_no_privilege,
    test_nothing_is_written_outside,
    test_other_processes_can_t_be_seen_or_ended,
    test_the_environment_can_t_be_read,
    test_the_home_can_t_be_read,
    test_the_network_can_t_be_reached,
    test_what_stands_beside_the_workspace_can_t_be_read,
)

pytestmark = needs_machines
__all__ = [
    "canary",
    "test_a_link_in_the_workspace_leads_only_to_what_the_step_sees",
    "test_a_step_has_no_privilege",
    "test_nothing_is_written_outside",
    "test_other_processes_can_t_be_seen_or_ended",
    "test_the_environment_can_t_be_read",
    "test_the_home_can_t_be_read",
    "test_the_network_can_t_be_reached",
    "test_what_stands_beside_the_workspace_can_t_be_read",
]


@pytest.fixture
def rooms(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def test_a_set_user_id_program_gives_nothing_inside_or_out(rooms: Machines) -> None:
    said = rooms.attempt("cp /bin/busybox id; chmod 6755 id; ./id -u; id -u; ls -l id | cut -c 1-10 >&2")
    mine, usual = said.out.split()
    assert mine == usual != "0"
    assert said.err == "-rwsr-sr-x\n"
    assert stat.S_IMODE((rooms.workspace / "id").stat().st_mode) == 0o755
