"""One batch from body to answer: fates, statuses, books."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.ingest.faults import BODY_BYTES_MAX, FaultySink, World

from headrace.ingest import reasons
from headrace.ingest.intake import decide_status
from headrace.ingest.shedding import is_shed

DAY = 86_400_000


@pytest.mark.parametrize(
    ("accepted", "dead", "shed", "returned", "status"),
    [
        (5, 0, 0, 0, 200), (5, 1, 0, 0, 200), (5, 0, 3, 0, 200), (0, 0, 3, 0, 410), (0, 2, 3, 0, 410),
        (0, 2, 0, 0, 400), (5, 0, 0, 1, 503), (0, 0, 3, 1, 503), (0, 0, 0, 0, 200),
    ],
)  # fmt: skip
def test_status_tells_the_player_what_to_do(accepted: int, dead: int, shed: int, returned: int, status: int) -> None:
    """Send again only if something was not acknowledged; be silent only if nothing of the batch is wanted."""
    assert decide_status(accepted=accepted, dead=dead, shed=shed, returned=returned) == status


def test_rows_are_enriched_and_keyed(tmp_path: Path) -> None:
    """Receive time, locality, program and CDN are added; the key is the session."""
    world = World(tmp_path)

    async def scenario() -> None:
        body = world.line(more=',url="http://10.77.0.3/x.ts",v=2') + "\n" + world.line()
        answer = await world.post(
            body.encode(), content_type="application/cmcd", x_forwarded_for="10.17.1.1", user_agent="curl/8"
        )
        assert (answer.status, answer.json) == (200, {"accepted": 2, "dead": 0, "shed": 0})

    asyncio.run(scenario())
    first, second = world.sink.topics["ods.cmcd_raw"]
    assert first == {
        "sid": "s0", "e": "ps", "sn": 1, "sta": "p", "ts_ms": world.clock.now_ms(), "url": "http://10.77.0.3/x.ts",
        "v": 2, "cdn": "B", "recv_ms": world.clock.now_ms(), "region": "north", "isp": "unicom",
        "ip_prefix": "10.16.0.0/14", "ua_family": "curl",
    }  # fmt: skip
    assert second["cdn"] == "B"
    assert world.sink.keys == ["s0", "s0"]


def test_skew_is_taken_off_and_recorded(tmp_path: Path) -> None:
    """A clock 5 s ahead is set back; a day ahead or behind is a dead letter with reason, hint and the row."""
    world = World(tmp_path)

    async def scenario() -> None:
        lines = [
            world.line("a", ahead_ms=5000),
            world.line("b"),
            world.line("c", ahead_ms=DAY),
            world.line("d", ahead_ms=-DAY),
        ]
        answer = await world.post("\n".join(lines).encode())
        assert (answer.json["accepted"], answer.json["dead"]) == (2, 2)

    asyncio.run(scenario())
    rows = {row["sid"]: row for row in world.sink.topics["ods.cmcd_raw"]}
    assert (rows["a"]["ts_ms"], rows["a"]["skew_ms"]) == (world.clock.now_ms(), 5000)
    assert "skew_ms" not in rows["b"]
    letters = world.sink.topics["dlq.cmcd_raw"]
    assert [(letter["reason"], letter["line"]) for letter in letters] == [("clock_skewed", 3), ("too_old", 4)]
    assert all(letter["hint"] and '"sid"' in letter["raw"] and letter["recv_ms"] for letter in letters)


def test_dead_letters_are_bounded_and_readable(tmp_path: Path) -> None:
    """A refused row keeps at most 2 KiB of itself; bytes that are no UTF-8 are escaped."""
    world = World(tmp_path)

    async def scenario() -> None:
        await world.post(b'sid="\xff' + b"y" * 1500 + b"\n" + b"z" * 5000)

    asyncio.run(scenario())
    first, second = world.sink.topics["dlq.cmcd_raw"]
    assert first["raw"].startswith('sid="\\xff')
    assert (second["reason"], len(second["raw"])) == (reasons.LINE_TOO_LONG, 2048)


def test_shed_sessions_are_silenced_and_the_others_kept(tmp_path: Path) -> None:
    """A batch of shed sessions only is answered 410; a mixed one keeps the others and says how many were shed."""
    world = World(tmp_path)
    world.intake.shed_share = 0.5
    sids = [f"s{number}" for number in range(40)]
    out = [sid for sid in sids if is_shed(sid, 0.5)]
    kept = [sid for sid in sids if not is_shed(sid, 0.5)]

    async def scenario() -> None:
        assert (await world.post(world.line(out[0]).encode())).status == 410
        mixed = await world.post("\n".join(map(world.line, sids)).encode())
        assert (mixed.status, mixed.json["shed"]) == (200, len(out))

    asyncio.run(scenario())
    assert [row["sid"] for row in world.sink.topics["ods.cmcd_raw"]] == kept


def test_kafka_down_is_503_and_nothing_is_taken_over(tmp_path: Path) -> None:
    """While Kafka does not answer, the rows stay the player's: not received, not shed, not dead."""
    world = World(tmp_path)
    world.sink.stalled = True

    async def scenario() -> None:
        answer = await world.post((world.line() + "\ngarbage!").encode())
        assert (answer.status, answer.json["returned"]) == (503, 2)

    asyncio.run(scenario())
    counts = world.ledger.of("cmcd_raw")
    assert (counts.offered, counts.returned, counts.received, counts.pending) == (2, 2, 0, 0)
    assert world.sink.topics == {}


def test_no_answer_before_the_acknowledgement(tmp_path: Path) -> None:
    """The batch is pending, and holds its share of the budget, until Kafka has it."""
    world = World(tmp_path)
    world.sink.hold = True

    async def scenario() -> None:
        task = asyncio.create_task(world.post(world.line().encode()))
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        assert world.ledger.of("cmcd_raw").pending == 1
        assert world.budget.used_bytes > 0
        world.sink.release()
        assert (await task).status == 200
        assert world.budget.used_bytes == 0

    asyncio.run(scenario())


def test_a_full_budget_is_503_and_recovers(tmp_path: Path) -> None:
    """With Kafka holding back, new requests wait unread and are then told to come again; the memory held never passes the limit."""
    world = World(tmp_path, budget_bytes=8000)
    world.sink.hold = True

    async def scenario() -> None:
        body = "\n".join(world.line(f"s{number}") for number in range(10)).encode()
        tasks = [asyncio.create_task(world.post(body)) for _ in range(12)]
        done, waiting = await asyncio.wait(tasks, timeout=1)
        assert {(await task).status for task in done} == {503}
        assert waiting
        assert world.budget.used_bytes <= 8000
        world.sink.release()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        assert world.budget.used_bytes == 0
        world.sink.hold = False
        assert (await world.post(body)).status == 200

    asyncio.run(scenario())
    assert world.ledger.of("cmcd_raw").accepted == len(world.sink.topics["ods.cmcd_raw"])


_BAD = ["garbage!", "e=ps,foo=1", 'e=ps,sid="x",ts="a"', "{", "x" * 2500]


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_books_reconcile_under_random_failure(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever Kafka loses and whatever players send: each row has one fate, and the topics hold what was counted."""
    sink = FaultySink(lambda count: data.draw(st.integers(0, count)) if data.draw(st.booleans()) else 0)
    world = World(tmp_path, sink=sink, budget_bytes=50_000)
    steps = st.tuples(
        st.lists(st.one_of(st.sampled_from(["a", "b", "c", "late", "early"]), st.sampled_from(_BAD)), max_size=8),
        st.sampled_from([0.0, 0.5]),
        st.booleans(),
    )

    def body_of(lines: list[str]) -> bytes:
        ahead = {"late": -DAY, "early": DAY}
        return "\n".join(
            world.line(it, ahead_ms=ahead.get(it, 0)) if len(it) < 6 and it != "{" else it for it in lines
        ).encode()

    async def scenario() -> None:
        for lines, share, stalled in data.draw(st.lists(steps, max_size=6)):
            world.intake.shed_share, sink.stalled = share, stalled
            body = body_of(lines)
            answer = await world.post(body, content_type="application/cmcd")
            told = answer.json
            fates = [told.get(fate, 0) for fate in ("accepted", "dead", "shed", "returned")]
            # Of a body that is too large nothing is read: it is one problem, not its rows'.
            assert sum(fates) == (len(lines) if len(body) <= BODY_BYTES_MAX else 1)
            assert answer.status == (503 if fates[3] else answer.status)

    asyncio.run(scenario())
    counts = world.ledger.of("cmcd_raw")
    assert counts.pending == 0
    assert counts.received == counts.accepted + counts.dead + counts.shed
    assert counts.accepted == len(sink.topics.get("ods.cmcd_raw", []))
    assert counts.dead == len(sink.topics.get("dlq.cmcd_raw", [])) == sum(counts.by_reason.values())
    assert world.budget.used_bytes == 0
