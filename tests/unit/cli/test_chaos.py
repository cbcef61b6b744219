"""`headrace chaos`: which cluster a choice of faults needs, and what is refused before anything starts."""

from __future__ import annotations

import pytest

from headrace.cli.chaos_commands import check_cases, setup_for, split_cases
from headrace.core.errors import Invalid, NotFound


def test_faults_of_disks_and_clocks_bring_their_cluster() -> None:
    """And nothing else does: disks in files and bent clocks are slower than real ones."""
    assert not setup_for(["host_dead", "loss_40"], hosts=4).disks
    assert setup_for(["host_dead", "disk_full"], hosts=4).disks
    assert setup_for(["agent_clock_back"], hosts=4).clocks


def test_the_matrix_shares_clusters_between_faults_of_one_kind() -> None:
    """In the order of the table."""
    names = ["host_dead", "disk_full", "agent_clock_back", "flapping", "loss_40", "disk_slow"]
    groups = [["host_dead", "loss_40"], ["disk_full", "disk_slow"], ["agent_clock_back"], ["flapping"]]
    assert split_cases(names) == groups
    # The victims of many faults would be retired, and there would be no cluster left.
    assert [setup_for(group, hosts=4).retires for group in groups] == [False, False, False, True]


def test_a_fault_that_there_is_not_is_refused_with_the_nearest() -> None:
    """None at all, too."""
    with pytest.raises(NotFound) as refused:
        check_cases(["host_dead", "disk_ful"])
    assert "disk_full" in refused.value.hint
    with pytest.raises(Invalid):
        check_cases([])
