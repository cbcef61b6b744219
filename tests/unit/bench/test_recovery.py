"""What the recovery bench prints of its parts: variants and Flink's own defaults are never mixed with what is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

import recovery
from headrace.guard.lab.experiment import Outcome
from headrace.guard.lab.timeline import Timeline
from headrace.guard.lab.workload import Books


def part(flowing_s: float, **more: Any) -> recovery.Part:
    """One injection of a vanished host in a cluster of its own."""
    flowing_ms = 1000 + round(flowing_s * 1000)
    timeline = Timeline(case="host_dead", host="h1", fault_ms=1000, flowing_ms=flowing_ms, zombie_cpu_ms=0)
    books = Books(produced=10, lost=0, doubled=0, miscounted=0)
    outcome = Outcome(timelines=(timeline,), books=books, state_bytes=7)
    return recovery.Part(**{"stock": False, "seed": 1, **more, "outcome": outcome})


def end_to_end(found: dict[str, Any]) -> float:
    """The worst of a vanished host."""
    return cast(float, found["host_dead"]["end_to_end_s"]["max"])


def total(parts: Sequence[recovery.Part]) -> dict[str, Any]:
    """The bench's result."""
    return cast(dict[str, Any], recovery.total(parts))


def test_variants_are_reported_apart() -> None:
    """More state, other settings, Flink's defaults: each has its own figures and books."""
    found = total(
        [part(2), part(3), part(50, stock=True), part(5, state_gb=2.0), part(1, settings={"env.java.opts": "-Xint"})]
    )
    assert end_to_end(found) == 3
    assert found["books"]["produced"] == 20
    assert end_to_end(found["stock"]) == 50
    assert end_to_end(found["state_2_gb"]) == 5
    assert found["state_2_gb"]["checkpoint_bytes"] == [7]
    assert end_to_end(found["env.java.opts=-Xint"]) == 1


def test_parts_of_earlier_runs_count(tmp_path: Path) -> None:
    """Those that were written before there were variants, too."""
    file = tmp_path / "parts.jsonl"
    old = msgspec.json.decode(msgspec.json.encode(part(4)))
    del old["state_gb"], old["settings"]
    file.write_bytes(b"\n".join([msgspec.json.encode(old), msgspec.json.encode(part(6))]) + b"\n")
    assert end_to_end(total(recovery.load_parts(file))) == 6
    assert recovery.load_parts(None) == []
