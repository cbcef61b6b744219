"""Which CDN a session uses, and in which order it should try the others: a pure function of session id and weights.

Weighted rendezvous hashing (Thaler and Ravishankar 1998, weighted as in Schindelhauer and Schomaker 2005): each pair of session
and CDN has a fixed hash u in (0, 1) and the score -ln(u) / weight; the lowest score wins, the ranking is the order of
preference. A CDN wins a share of sessions equal to its weight. Nothing is stored, every process computes the same.

What moves when weights change, with d = sum |dw| / 2:
- two CDNs, or one CDN losing to (winning from) all others in proportion: exactly the share d, all in the intended direction;
- otherwise at most 2d / (1 + d), the optimum for any stateless assignment (Bavarian et al. 2016). Cumulative weights, the
  simpler way, coincide with this for two CDNs but with N of them shift up to N - 1 borders and move (N - 1) d.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

_SCALE = 1.0 / (1 << 64)
_LAST = math.inf


def hash_unit(text: str) -> float:
    """A number in (0, 1) that depends on nothing but the text; the same on every machine and in every version."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) * _SCALE


def draw(sid: str, cdn: str) -> float:
    """The session's fixed exponential draw for one CDN, the numerator of its score."""
    return -math.log(min(hash_unit(f"{cdn}\x00{sid}"), 1 - 1e-16))


def rank(draws: Mapping[str, float], weights: Mapping[str, float]) -> list[str]:
    """CDNs by preference, given the session's draws; a weight of 0 comes last, in order of the draw."""
    return sorted(weights, key=lambda cdn: (_score(draws[cdn], weights[cdn]), draws[cdn], cdn))


def _score(drawn: float, weight: float) -> float:
    return drawn / weight if weight > 0 else _LAST


def priority(sid: str, weights: Mapping[str, float]) -> list[str]:
    """PATHWAY-PRIORITY of one session: every CDN of `weights`, the one to use first."""
    return rank({cdn: draw(sid, cdn) for cdn in weights}, weights)


def assign(sid: str, weights: Mapping[str, float]) -> str:
    """The CDN that a session is to use."""
    return priority(sid, weights)[0]


def jitter_ttl(sid: str, ttl_s: float, *, spread: float = 0.2) -> int:
    """`ttl_s` moved by up to ±`spread`, fixed per session so that polls stay spread out; whole seconds, at least 1."""
    return max(1, round(ttl_s * (1 + spread * (2 * hash_unit(f"ttl\x00{sid}") - 1))))


def shares(assigned: Sequence[str]) -> dict[str, float]:
    """The share of each CDN among assigned sessions, for reports."""
    return {cdn: assigned.count(cdn) / len(assigned) for cdn in sorted(set(assigned))}
