"""What the steering endpoint answers from: weights per cell in memory, whatever happens to Redis, the scheduler or this process.

Sources, best first: the record in Redis (read every `REFRESH_S` in the background), the last good record this process has seen
(kept for ever), the one it had written to `data/steering/last.json` before it was restarted, and weights by capacity from
`cdn.csv`, at last by DEFAULT_CDNS. Damaged records count as absent. A record that nobody has renewed for `STALE_S` is still served,
but with the TTL of calm: an incident cannot last for ever because the scheduler died in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.core.log import Logger
from headrace.core.prefixes import PrefixTable
from headrace.serve.cdns import Cdn, DimFile, default_weights, parse_cdns
from headrace.serve.decisions import Cell, SteerRecord

STALE_S = 30.0
SAVE_EVERY_S = 2.0  # at most this often; the file is some 300 bytes a cell
TTL_DEFAULT_S = 10.0
UNKNOWN_CELL = Cell("unknown", "unknown")
DEFAULT_CDNS: tuple[Cdn, ...] = (
    Cdn("A", (), 1.0, 1.0, 0.0),
    Cdn("B", (), 1.0, 1.0, 0.0),
)  # nothing is known: some answer beats none


class Answer(msgspec.Struct, frozen=True):
    """What to tell the sessions of a cell: weights, TTL before jitter, and where it comes from (decided, stale, default)."""

    weights: dict[str, float]
    ttl_s: float
    source: str


class Localities(NamedTuple):
    """`ip_prefix.csv` as the endpoint needs it: where an address is, and which cells there are."""

    prefixes: PrefixTable
    cells: tuple[Cell, ...]


class _Saved(msgspec.Struct, frozen=True):
    """The file `last.json`."""

    version: int
    cells: dict[str, SteerRecord]


class SteeringTable:
    """Answers per cell; `update` and `refresh_dims` are called by the background loop, `answer` by every poll."""

    def __init__(self, dims: Path, last_file: Path, *, log: Logger) -> None:
        self._log = log
        self._last_file = last_file
        nowhere = Localities(PrefixTable(()), (UNKNOWN_CELL,))
        self._places = DimFile(dims / "ip_prefix.csv", parse_localities, default=nowhere, log=log)
        self._cdns = DimFile(dims / "cdn.csv", parse_cdns, default=DEFAULT_CDNS, log=log)
        self._records: dict[Cell, SteerRecord] = {}
        self._answers: dict[Cell, Answer] = {}
        self._default = Answer(default_weights(DEFAULT_CDNS), TTL_DEFAULT_S, "default")
        self._saved_at_s = float("-inf")
        self._unsaved = False

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells to read from Redis: those that a client can be in."""
        return self._places.value.cells

    def locate(self, address: str) -> Cell:
        """The cell of a client's address."""
        found = self._places.value.prefixes.lookup(address)
        return Cell(found.region, found.isp)

    def answer(self, cell: Cell) -> Answer:
        """What to tell a session of `cell`; never fails."""
        return self._answers.get(cell, self._default)

    def sources(self) -> dict[str, int]:
        """How many cells are answered from which source."""
        counts: dict[str, int] = {}
        for cell in self.cells:
            source = self.answer(cell).source
            counts[source] = counts.get(source, 0) + 1
        return counts

    def refresh_dims(self) -> None:
        """Re-read the dims if they have changed."""
        self._places.refresh()
        if self._cdns.refresh():
            self._default = Answer(default_weights(self._cdns.value), TTL_DEFAULT_S, "default")

    def update(self, records: Mapping[Cell, SteerRecord], *, now_ms: int) -> None:
        """Take what Redis held, which may be nothing, and render all answers again."""
        for cell, record in records.items():
            if record != self._records.get(cell):
                self._records[cell] = record
                self._unsaved = True
        self._answers = {cell: _render(record, now_ms) for cell, record in self._records.items()}

    def load(self, *, now_ms: int) -> None:
        """Take over what an earlier process saved; a damaged file is logged and ignored."""
        try:
            saved = msgspec.json.decode(self._last_file.read_bytes(), type=_Saved)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._log.warning("last_answers_not_read", path=self._last_file, error=str(error))
            return
        for key, record in saved.cells.items():
            region, _, isp = key.partition(":")
            self._records.setdefault(Cell(region, isp), record)
        self.update({}, now_ms=now_ms)
        self._log.info("last_answers_read", path=self._last_file, cells=len(saved.cells))

    def save(self, *, now_s: float, at_once: bool = False) -> None:
        """Write the records for the next process, atomically, if they have changed and the last write is old enough."""
        if not self._unsaved or (now_s - self._saved_at_s < SAVE_EVERY_S and not at_once):
            return
        saved = _Saved(
            1, {str(cell): msgspec.structs.replace(one, state=_NO_STATE) for cell, one in self._records.items()}
        )
        draft = self._last_file.with_suffix(".tmp")
        try:
            self._last_file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(msgspec.json.encode(saved))
            os.replace(draft, self._last_file)
        except OSError as error:
            self._log.warning("last_answers_not_saved", path=self._last_file, error=str(error))
            with contextlib.suppress(OSError):
                draft.unlink()
        else:
            self._unsaved = False
        self._saved_at_s = now_s


_NO_STATE = msgspec.Raw(b"null")


def parse_localities(text: str, file: str) -> Localities:
    """Read `ip_prefix.csv`; raises as `PrefixTable.parse`."""
    return Localities(PrefixTable.parse(text, file=file), cells_of(text))


def cells_of(text: str) -> tuple[Cell, ...]:
    """The cells that an `ip_prefix.csv` names, and the unknown one."""
    header, *lines = text.splitlines() or [""]
    names = [name.strip() for name in header.split(",")]
    region, isp = names.index("region"), names.index("isp")
    found = {UNKNOWN_CELL}
    for line in lines:
        parts = line.split(",")
        if len(parts) > max(region, isp):
            found.add(Cell(parts[region].strip(), parts[isp].strip()))
    return tuple(sorted(found))


def _render(record: SteerRecord, now_ms: int) -> Answer:
    stale = now_ms - record.ts_ms > STALE_S * 1_000
    ttl_s = max(record.ttl_s, TTL_DEFAULT_S) if stale else record.ttl_s
    return Answer(record.weights, ttl_s, "stale" if stale else "decided")
