"""Whether the cluster could lose a host now: the free slots of all other TaskManagers must hold what the lost one runs."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.flink.protocol import TaskManagerRow


def find_exposed(rows: Sequence[TaskManagerRow]) -> tuple[str, ...]:
    """Nodes whose loss would leave tasks without a slot, sorted; blocked TaskManagers count as no help.

    Pure. TaskManagers of one node are lost together.
    """
    used: dict[str, int] = {}
    free: dict[str, int] = {}
    for row in rows:
        used[row.node] = used.get(row.node, 0) + row.slots - row.free_slots
        free[row.node] = free.get(row.node, 0) + (0 if row.blocked else row.free_slots)
    total = sum(free.values())
    return tuple(sorted(node for node, slots in used.items() if slots > total - free[node]))
