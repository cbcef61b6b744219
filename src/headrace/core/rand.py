"""Randomness as an argument: a seeded generator is made here and handed down."""

from __future__ import annotations

import random
import uuid

Random = random.Random


def seeded(seed: int) -> Random:
    """A generator that repeats for the same seed; the caller prints the seed."""
    return random.Random(seed)


def unseeded() -> Random:
    """A generator from the operating system's entropy, for ids and jitter."""
    return random.SystemRandom()


def new_id(prefix: str) -> str:
    """A unique id `prefix-xxxxxxxxxxxx`; sorts by nothing, is never parsed."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
