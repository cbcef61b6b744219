"""What the scheduler sees, remembers and decides, as values.

`CellRow` is one row of `cell_1s`; `CdnFacts`/`CellFacts` are a cell's last seconds, condensed; `CdnState`/`CellState` is what is
carried from one decision to the next; `Decision` is the outcome. `Inputs` (facts, state, time, rules) determines a
decision completely: it is what the decision log stores and what `replay` takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec

from headrace.core.config import Options, option, options
from headrace.serve.decisions import Cell

CellKey = Cell


class CellRow(msgspec.Struct, frozen=True):
    """One second of one region, ISP and CDN: distinct sessions with a beacon in that second, by what they said.

    `errors` are sessions with a fatal error or a failed request; a counter that is absent or null counts as 0.
    """

    sec_ms: int
    region: str | None = None
    isp: str | None = None
    cdn: str | None = None
    sessions: int | None = None
    stalled: int | None = None
    stall_starts: int | None = None
    inflight: int | None = None
    errors: int | None = None
    slow_responses: int | None = None
    inflight_age_ms_max: int | None = None
    last_ts_ms: int | None = None
    last_recv_ms: int | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What is believed of the share of bad sessions: posterior mean, one-sided bounds, effective sample size."""

    share: float
    lower: float
    upper: float
    n: float


class CdnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One CDN in one cell.

    Args:
        sessions: own sessions per second (mean of the short window's seconds).
        bad: own bad sessions per second, same window.
        short: evidence of the last seconds, with what other cells lend.
        long: evidence of the long window, likewise.
        inflight_age_ms: the oldest fetch in flight, in the short window.
        limit: largest weight that fits the CDN's capacity, given all other cells; 1 if unlimited.
        capacity: sessions. price: per unit. floor: least share.
    """

    cdn: str
    sessions: float
    bad: float
    short: Evidence
    long: Evidence
    inflight_age_ms: int = 0
    limit: float = 1.0
    capacity: float
    price: float
    floor: float


class CellFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A cell's last seconds.

    Args:
        newest_ms: event second of the newest row of the whole input, 0 if none; freshness is judged by it.
        demand: concurrent sessions of the cell.
        cdns: sorted by name.
    """

    cell: CellKey
    newest_ms: int
    demand: float
    cdns: tuple[CdnFacts, ...]


class CdnState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the cell remembers of a CDN.

    Args:
        weight: the share given to it.
        ceiling: the largest weight that its health allows; below 1 it is suspect.
        threshold: up to here a healed CDN is given back in full steps, above it in small ones (as TCP's ssthresh).
        hold_until_ms: no give-back before.
        fails: faults in a row, doubling the hold; forgotten after `forget_s` without one.
        failed_at_ms: the last fault.
        soft_since_ms: since when it has been significantly worse than the best, 0 if it is not.
        settle_until_ms: it was just given sessions; those that bring their stall along are not held against it.
    """

    weight: float
    ceiling: float = 1.0
    threshold: float = 1.0
    hold_until_ms: int = 0
    fails: int = 0
    failed_at_ms: int = 0
    soft_since_ms: int = 0
    settle_until_ms: int = 0

    @property
    def suspect(self) -> bool:
        """Its health limits its weight."""
        return self.ceiling < 1.0


class CellState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is carried from one decision of a cell to the next."""

    cdns: dict[str, CdnState]
    version: int = 0
    ttl_s: float = 10.0
    next_step_ms: int = 0
    incident_until_ms: int = 0

    @classmethod
    def from_weights(cls, weights: Mapping[str, float], *, version: int, ttl_s: float) -> CellState:
        """A state that knows nothing but the weights."""
        return cls(
            cdns={name: CdnState(weight=weight) for name, weight in sorted(weights.items())},
            version=version,
            ttl_s=ttl_s,
        )

    @property
    def weights(self) -> dict[str, float]:
        """Share by CDN."""
        return {name: state.weight for name, state in self.cdns.items()}


class Alternative(msgspec.Struct, frozen=True):
    """A CDN as the decision saw it: verdict (good, unknown, soft, hard, suspect, full), most it could take, and why."""

    cdn: str
    verdict: str
    weight_max: float
    note: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for one cell at one time.

    Args:
        action: keep, hold, step, evacuate, shed, probe or init; see `decide`.
        weights: sum to 1.
        before: the weights it replaces.
        moved: share of sessions that change their CDN, sum |dw| / 2.
        inputs_hash: of `Inputs`.
    """

    cell: CellKey
    at_ms: int
    action: str
    reason: str
    weights: dict[str, float]
    before: dict[str, float]
    moved: float
    ttl_s: float
    alternatives: tuple[Alternative, ...]
    state: CellState
    last_input_ms: int
    inputs_hash: str = ""


@options("flows.cdn")
class Rules(Options, frozen=True):
    """Rules of the CDN scheduler's decisions."""

    short_s: Annotated[
        int, option("window that shows a hard fault; longer is calmer and slower", unit="s", ge=1, le=10)
    ] = 2
    long_s: Annotated[
        int, option("window of gradual comparison; longer sees smaller differences", unit="s", ge=3, le=60)
    ] = 10
    stale_s: Annotated[
        float,
        option(
            "age of the newest row above which weights are frozen; shorter freezes at every hiccup of the job",
            unit="s",
            ge=1,
            le=60,
        ),
    ] = 6.0
    hard_share: Annotated[
        float,
        option(
            "a CDN has failed when the lower bound of its bad share is above; lower is faster and jumpier",
            ge=0.05,
            le=0.9,
        ),
    ] = 0.25
    soft_margin: Annotated[
        float, option("a CDN is degraded when surely worse than the best by more than this share", ge=0.005, le=0.5)
    ] = 0.04
    soft_after_s: Annotated[float, option("how long it must stay worse before a first step", unit="s", ge=0, le=60)] = (
        3.0
    )
    confidence_z: Annotated[float, option("width of the evidence's bounds in standard deviations", ge=1, le=5)] = 1.64
    repeat_credit: Annotated[
        float,
        option("what a further second of the same sessions adds to the sample, as a share of the first", ge=0, le=1),
    ] = 0.3
    borrow_n: Annotated[
        float, option("most sessions' worth of evidence that a cell borrows from its region and the rest", ge=0, le=100)
    ] = 4.0
    step: Annotated[float, option("largest share moved per period when nothing has failed", ge=0.01, le=1)] = 0.1
    slow_step: Annotated[
        float, option("share given back per period above the level at which a CDN failed", ge=0.001, le=1)
    ] = 0.02
    decrease: Annotated[float, option("what a degraded CDN keeps of its weight per period", ge=0.1, le=0.95)] = 0.6
    dead_band: Annotated[float, option("moves smaller than this are not made; absorbs noise", ge=0, le=0.2)] = 0.02
    measure_delay_s: Annotated[
        float,
        option("time from a change at the player to its row here; a period is one TTL longer", unit="s", ge=0.5, le=60),
    ] = 3.0
    hold_s: Annotated[
        float, option("quiet time before a failed CDN is given back; doubles per repeat", unit="s", ge=1, le=3600)
    ] = 30.0
    hold_max_s: Annotated[float, option("longest hold", unit="s", ge=1, le=86400)] = 600.0
    forget_s: Annotated[
        float, option("faults are forgotten after this long without one", unit="s", ge=60, le=86400)
    ] = 900.0
    headroom: Annotated[
        float,
        option("share of the stated capacity that is filled; the rest absorbs what is not yet measured", ge=0.3, le=1),
    ] = 0.9
    exploration: Annotated[
        float,
        option(
            "least share of every CDN, so that its state stays known; these sessions suffer when it is bad",
            ge=0,
            le=0.1,
        ),
    ] = 0.02
    ttl_calm_s: Annotated[
        float,
        option("players' poll interval in calm; longer means fewer polls and slower reaction", unit="s", ge=2, le=300),
    ] = 4.0
    ttl_incident_s: Annotated[float, option("players' poll interval in an incident", unit="s", ge=1, le=30)] = 2.0
    incident_s: Annotated[
        float, option("an incident ends after this long without a fault or a move", unit="s", ge=5, le=600)
    ] = 30.0


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision depends on; `state` is None for a cell that nobody has decided on."""

    facts: CellFacts
    state: CellState | None
    now_ms: int
    rules: Rules


_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode_inputs(inputs: Inputs) -> bytes:
    """The inputs as JSON with a fixed order of keys: the same inputs are the same bytes."""
    return _ENCODER.encode(inputs)


def decode_inputs(raw: bytes | str) -> Inputs:
    """What `encode_inputs` wrote."""
    return msgspec.json.decode(raw, type=Inputs)


def hash_inputs(encoded: bytes) -> str:
    """A short fingerprint of encoded inputs."""
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()
