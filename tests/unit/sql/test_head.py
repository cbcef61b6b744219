"""The comment head of pipelines: what is read, and what each mistake is told."""

from __future__ import annotations

import pytest

from headrace.core.errors import Invalid
from headrace.sql.head import Head, parse_head

GOOD = """-- Prose before the keys may stand here: it starts with a capital letter.
-- name: play_interval
-- tier: P0
-- parallelism: 4
-- freshness: 2 s from event to row
-- config: table.exec.state.ttl = 30 min
-- config: pipeline.object-reuse = true

-- Later prose.
INSERT INTO a SELECT * FROM b; -- name: not the head any more
"""


def test_a_full_head_is_read() -> None:
    """All keys are read, config lines add up, and nothing below the first statement is looked at."""
    config = {"table.exec.state.ttl": "30 min", "pipeline.object-reuse": "true"}
    wanted = Head(name="play_interval", tier="P0", parallelism=4, freshness="2 s from event to row", config=config)
    assert parse_head(GOOD, file="p.sql") == wanted


def test_defaults_need_only_a_name() -> None:
    """Tier is P2 and parallelism the target's when nothing else is said."""
    assert parse_head("-- name: x\nINSERT", file="p.sql") == Head(name="x")


@pytest.mark.parametrize(
    ("text", "place", "says", "hints"),
    [
        ("INSERT INTO a", "p.sql:1", "needs a name", "-- name:"),
        ("-- name: x\n-- paralelism: 2", "p.sql:2", "unknown key", "parallelism"),
        ("-- name: x\n-- note: hi", "p.sql:2", "unknown key", "capital letter"),
        ("-- name: x\n-- name: y", "p.sql:2", "given twice", ""),
        ("-- name: X y", "p.sql:1", "bad pipeline name", "lower-case"),
        ("-- name:", "p.sql:1", "without a value", ""),
        ("-- name: x\n-- tier: P9", "p.sql:2", "unknown tier", "P0, P1, P2"),
        ("-- name: x\n-- parallelism: none", "p.sql:2", "bad parallelism", "1 to 720"),
        ("-- name: x\n-- parallelism: 0", "p.sql:2", "bad parallelism", "1 to 720"),
        ("-- name: x\n-- config: a b", "p.sql:2", "bad config line", "="),
        ("-- name: x\n-- config: execution.checkpointing.interval = 0", "p.sql:2", "cannot set this", "always on"),
        ("-- name: x\n-- config: a = 1\n-- config: a = 2", "p.sql:3", "given twice", ""),
    ],
)
def test_mistakes_name_place_and_remedy(text: str, place: str, says: str, hints: str) -> None:
    """Every mistake in a head is refused at its line with a hint."""
    with pytest.raises(Invalid) as caught:
        parse_head(text, file="p.sql")
    assert str(caught.value.place) == place
    assert says in caught.value.message
    assert hints in caught.value.hint
