"""Signs of life of TaskManagers that come without their agent: Flink's heartbeats, and answers to a question of our own.

An agent that stands still says nothing of the TaskManagers beside it. Flink's last heartbeat does, but it is taken and passed on by threads that also
deploy and restore, once a second: on a busy machine it comes late although all are well. So the TaskManagers of a host whose agent is silent are also
asked themselves (`probes.Prober.ask`): a connection to the port of their data is closed by us, and only a running process closes its side, too.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

FLINK_STALE_MS = 1500
ASKED_MAX = 4  # TaskManagers of a host that are asked; one that answers is enough


class FlinkHeard(msgspec.Struct, frozen=True):
    """What Flink says of a TaskManager: its last heartbeat in whatever clock, and the port of its data, 0 when it has none."""

    heartbeat: int
    data_port: int = 0


class Signs:
    """When the TaskManagers of each host last gave a sign, on the awake clock: a pause of the whole machine is nobody's silence."""

    def __init__(self) -> None:
        self._heard: dict[
            str, tuple[FlinkHeard, int]
        ] = {}  # resource id → (as Flink says, since when its heartbeat has that value)
        self._told_ms: int | None = None
        self._answered_ms: dict[str, int] = {}

    def flink_told(self, rows: dict[str, FlinkHeard], awake_ms: int) -> None:
        """All TaskManagers that Flink knows; only a heartbeat's change counts, so that no clocks are compared."""
        before = self._heard
        self._heard = {
            name: (row, before[name][1] if name in before and before[name][0].heartbeat == row.heartbeat else awake_ms)
            for name, row in rows.items()
        }
        self._told_ms = awake_ms

    def answered(self, host: str, awake_ms: int) -> None:
        """A TaskManager of this host answered."""
        self._answered_ms[host] = awake_ms

    def forget(self, host: str) -> None:
        """The host is gone."""
        self._answered_ms.pop(host, None)

    def ports(self, names: Iterable[str]) -> tuple[int, ...]:
        """Where these TaskManagers can be asked, as far as Flink knows them."""
        rows = (self._heard[name][0] for name in names if name in self._heard)
        return tuple(row.data_port for row in rows if row.data_port > 0)[:ASKED_MAX]

    def silence_ms(self, host: str, names: Iterable[str], awake_ms: int) -> int | None:
        """How long no TaskManager of a host gave a sign; None when Flink knows none of them or has told nothing lately."""
        heard = [self._heard[name][1] for name in names if name in self._heard]
        if not heard or self._told_ms is None or awake_ms - self._told_ms > FLINK_STALE_MS:
            return None
        return awake_ms - max(*heard, self._answered_ms.get(host, heard[0]))
