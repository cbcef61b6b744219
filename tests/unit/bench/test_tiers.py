"""The tiers' bench: where it limits memory, and what it computes from raw figures."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from curve_plot import render_curves
from memory_limit import Limit, NoLimit, parent_group
from state_restores import full_speed_ms, shares, summarize
from state_tiers import PHASES, has_failed, join_shares, ratios_of
from state_tiers_report import render_report
from svg_chart import Chart

VERSION_1 = "25 20 0:22 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
VERSION_2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
CPU_1 = "26 20 0:23 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


def test_group_is_made_below_the_own_one() -> None:
    """Both versions are understood; with both mounted, memory is where version 1's memory controller is."""
    assert parent_group("4:memory:/a/b\n0::/c\n", VERSION_1 + VERSION_2 + CPU_1) == (
        Path("/sys/fs/cgroup/memory/a/b"),
        1,
    )
    assert parent_group("0::/user.slice/one\n", VERSION_2) == (Path("/sys/fs/cgroup/user.slice/one"), 2)


def test_mount_of_a_part_is_taken_off() -> None:
    """In a container the mount's root is the container's own group."""
    mounts = VERSION_1.replace("0:22 / /sys", "0:22 /docker/x /sys")
    assert parent_group("4:memory:/docker/x/y\n", mounts) == (Path("/sys/fs/cgroup/memory/y"), 1)


def test_no_memory_controller_is_said() -> None:
    """Nothing is measured when nothing can be limited."""
    with pytest.raises(NoLimit, match="no memory controller"):
        parent_group("1:cpu,cpuacct:/\n", CPU_1)


def test_kills_are_counted(tmp_path: Path) -> None:
    """The kernel's own count tells a fork that died for its memory from one that failed."""
    limit = Limit(tmp_path, 1)
    assert limit.kills == 0
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert limit.kills == 2


def test_ratios_are_of_wall_time_and_of_what_both_have() -> None:
    """A backend that stopped early has ratios for the phases before that only."""
    phases = {"zipf_get": {"wall_ns": 10.0}, "uniform_put": {"wall_ns": 4.0}, "checkpoint_full": {"async_ms": 1.0}}
    raw = {"3": {"slimbase": {"phases": phases}, "forst": {"phases": {"zipf_get": {"wall_ns": 25.0}}}}}
    assert ratios_of(raw) == {"3_zipf_get_vs_forst": 2.5}


def test_share_of_bytes_written() -> None:
    """A backend that wrote nothing gives no share."""
    raw = {
        "live_rows": 5,
        "slimbase": {"phases": {"window": {"write_amplification": 1.0}}},
        "rocksdb-bloom": {"phases": {"window": {"write_amplification": 4.0}}},
        "forst": {"phases": {}},
    }
    assert join_shares(raw) == {"write_amplification_share_of_rocksdb-bloom": 0.25}


def test_full_speed_is_of_the_last_quarter() -> None:
    """A restored subtask that reads its state when asked is at full speed later than at its first record."""
    assert full_speed_ms([1, 5, 79, 81, 90, 100, 100, 100], 250, 40.0) == 40.0 + 4 * 250
    assert full_speed_ms([7], 250, 1.0) == 251.0


def test_slowest_subtask_counts() -> None:
    """Subtasks restore beside each other in a job."""
    one = {"first_record_ms": 10.0, "windows": [5, 5], "windows_ms": 100}
    other = {"first_record_ms": 30.0, "windows": [1, 5], "windows_ms": 100}
    taken = {"sync_ms": 1.0, "async_ms": 2.0}
    summary = summarize({"full_0": taken, "restore_0": one, "restore_1": other})
    assert summary == {"first_record_ms": 30.0, "full_speed_ms": 230.0, "checkpoint_full_ms": 3.0}
    assert shares({"state_bytes": 1, "slimbase": summary, "forst": {"first_record_ms": 60.0}}) == {
        "first_record_ms_share_of_forst": 0.5
    }


def test_what_does_not_fit_is_no_failure() -> None:
    """A wrong answer is."""
    assert not has_failed({"tiers": {"curve": {"3": {"slimbase": {"end": "throttled"}}}}})
    assert has_failed({"tiers": {"curve": {"3": {"slimbase": {"end": "failed"}}}}})


def _fork(wall_ns: float) -> dict[str, object]:
    phase = {"wall_ns": wall_ns, "write_amplification": 2.0}
    return {"end": "done", "phases": dict.fromkeys(PHASES, phase)}


def test_report_has_curves_and_says_what_did_not_fit() -> None:
    """A backend that stops at some ratio has a shorter curve, and the table says why."""
    curve = {"0.5": {"slimbase": _fork(500.0), "forst": _fork(5_000.0)}, "3": {"forst": _fork(50_000.0)}}
    curve["3"]["slimbase"] = {"end": "throttled", "phases": {}}
    setup = {"managed_bytes": 1 << 28, "heap_bytes": 1 << 28, "limit_bytes": 1 << 29}
    result = {
        "machine": {"cores": 2, "memory_gib": 24, "java": "17"},
        "tiers": {"setup": setup, "curve": curve, "ratios": ratios_of(curve)},
    }
    files = render_report(result)
    assert "refused" in files["state-tiers.md"]
    assert "| 10.0 |" in files["state-tiers.md"]
    drawn = ElementTree.fromstring(files["state-tiers-uniform-put.svg"])
    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [1, 2]
    assert files["state-tiers.md"].count("](state-tiers-") == len(files) - 1


def test_nothing_to_draw_is_refused() -> None:
    """An empty chart would look like a measured one."""
    with pytest.raises(ValueError, match="nothing"):
        render_curves(Chart("none", {}, "x", "y"))
