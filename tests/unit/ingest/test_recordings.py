"""Recordings of real players: reading, and the way back to the wire."""

import pytest

from headrace.core.errors import Invalid
from headrace.ingest.cmcd import parse_line
from headrace.ingest.recordings import RecordedEvent, beacons, decode_wire, encode_cmcd, read_recording, shifted

LINES = [
    '{"t": 1795364251.4134, "k": "cmcd", "ev": {"br": "(1720)", "cid": "room1", "e": "rr", "rc": "200", "sid": "s0", '
    '"sn": "4", "sta": "s", "ts": "1795364251346", "url": "http://10.77.0.2/v0_00694.ts", "v": "2"}}',
    "",
    '{"t": 1795364251.2215, "k": "steer", "q": {"sid": "s0", "_HLS_pathway": "A"}, "prio": ["A", "B"]}',
    '{"t": 1795364251.9, "k": "js", "ev": {"ts": 1795364251395, "sid": "s0", "k": "frag", "ms": 36.9}}',
]


def test_reads_kinds_times_and_fields() -> None:
    """Every line that is not blank becomes one event, with its time in ms."""
    events = list(read_recording(LINES))
    assert [event.kind for event in events] == ["cmcd", "steer", "js"]
    assert events[0].t_ms == 1795364251413
    assert events[1].fields == {"q": {"sid": "s0", "_HLS_pathway": "A"}, "prio": ["A", "B"]}
    assert [event.kind for event in beacons(events)] == ["cmcd"]


def test_a_damaged_line_is_named() -> None:
    """The error says which line of which file is no event."""
    with pytest.raises(Invalid) as caught:
        list(read_recording([LINES[0], "{"], file="ev.jsonl"))
    assert str(caught.value.place) == "ev.jsonl:2"


def test_encodes_as_the_reporter_does() -> None:
    """Keys in alphabetical order, strings quoted, tokens, numbers and lists as they are."""
    (event,) = beacons(read_recording(LINES))
    assert encode_cmcd(event.fields) == (
        'br=(1720),cid="room1",e=rr,rc=200,sid="s0",sn=4,sta=s,ts=1795364251346,url="http://10.77.0.2/v0_00694.ts",v=2'
    )


def test_encodes_strings_flags_and_custom_keys() -> None:
    """Quotes and backslashes are escaped, true is the key alone, custom keys are numbers or strings, ec is a list."""
    fields = {
        "sid": 's"0\\',
        "su": True,
        "com.headrace-age": "1234",
        "com.headrace-cdn": "A",
        "ec": "fragLoadError",
        "e": "ce",
    }
    line = encode_cmcd(fields)
    assert line == 'com.headrace-age=1234,com.headrace-cdn="A",e=ce,ec=("fragLoadError"),sid="s\\"0\\\\",su'
    assert parse_line(line) == {**fields, "com.headrace-age": 1234, "ec": ["fragLoadError"]}


def test_shifted_changes_only_identity_and_time() -> None:
    """A replayed event is of another session at another time and otherwise the same."""
    event = RecordedEvent(0, "cmcd", {"sid": "s0", "cid": "room1", "ts": "1000", "e": "ps"})
    assert shifted(event.fields, sid="p1", shift_ms=5) == {"sid": "p1", "cid": "room1", "ts": "1005", "e": "ps"}
    assert shifted(event.fields, sid="p1", shift_ms=5, cid="room2")["cid"] == "room2"
    assert event.fields["sid"] == "s0"


def test_a_report_as_sent_survives_reading() -> None:
    """Strings, lists, numbers, flags and custom keys of a wire line come back as they were."""
    wire = 'bl=(3500),br=(1720),bs,cen="in\\"flight",com.headrace-age=1290,com.headrace-cdn="A",e=ce,sid="a,b=c",ts=17,url="http://x/y?a=1,2"'
    fields = decode_wire(wire)
    assert fields["sid"] == "a,b=c"
    assert fields["cen"] == 'in"flight'
    assert fields["bs"] is True
    assert encode_cmcd(fields) == wire
    (event,) = beacons(read_recording(['{"t": 1, "k": "cmcd", "wire": "e=t,sid=\\"s0\\",ts=5"}']))
    assert event.fields == {"e": "t", "sid": "s0", "ts": "5"}
