"""Delayed packets: each waits for its own time, messages are the kernel's, and a real connection takes as long as it was told to."""

from __future__ import annotations

import socket
import struct
import time
from random import Random

import pytest
from tests.waiting import wait_until

from headrace.core.errors import Unsupported
from headrace.guard.lab import delay, network


def test_packets_leave_when_their_time_has_come() -> None:
    """In order without jitter; with jitter they overtake each other, each within its bounds."""
    waiting = delay.Waiting(100, 0, Random(1))
    assert waiting.next_in_s(0) is None
    waiting.add(1, 10.0)
    waiting.add(2, 10.01)
    assert waiting.next_in_s(10.0) == pytest.approx(0.1)
    assert waiting.due(10.0999) == []
    assert waiting.due(10.1001) == [1]
    assert waiting.due(10.2) == [2]
    loose = delay.Waiting(100, 50, Random(1))
    for number in range(50):
        loose.add(number, 0.0)
    assert loose.due(0.0499) == []
    left = loose.due(0.1501)
    assert sorted(left) == list(range(50))
    assert left != sorted(left)


def test_a_verdict_names_its_packet_in_the_kernels_words() -> None:
    """Header in the machine's byte order, numbers in the network's; lengths are multiples of four."""
    data = delay.verdict(7, 0x01020304)
    length, kind, flags, _, _ = struct.unpack_from("=IHHII", data)
    assert (length, kind, flags) == (len(data), 0x0301, 1)
    assert data[16:20] == b"\x00\x00\x00\x07"
    assert struct.unpack_from("=HH", data, 20) == (12, 2)
    assert data[24:] == b"\x00\x00\x00\x01\x01\x02\x03\x04"
    assert len(delay.attribute(2, b"12345")) == 12


def test_numbers_of_packets_are_read_from_what_the_kernel_sends() -> None:
    """Other attributes before it are skipped; what is cut short, or carries no number, gives none."""
    header = delay.attribute(1, struct.pack("!IHB", 42, 0x0800, 1))
    body = delay.message(delay.PACKET, 1, delay.attribute(9, b"abc"), header)
    other = delay.message(delay.PACKET, 1, delay.attribute(9, b"abc"))
    found = [(kind, delay.read_packet(each)) for kind, each in delay.read_messages(body + other)]
    assert found == [(0x0300, 42), (0x0300, None)]
    for length in range(len(body)):
        assert list(delay.read_messages(body[:length])) == []


@pytest.mark.root
def test_a_connection_takes_as_long_as_it_was_told_to() -> None:
    """The kernel's own answer comes after both ways' delay, and at once when it is undone."""
    try:
        network.check()
    except Unsupported as error:
        pytest.skip(str(error).splitlines()[0])
    if lacking := delay.missing():
        pytest.skip(lacking)
    lab = network.Network()
    lab.open(["h1"])
    try:
        lab.delay("h1", 100, 0)
        assert _refused_after_s(lab.address("h1")) >= 0.19
        lab.undelay("h1")
        wait_until(lambda: _refused_after_s(lab.address("h1")) < 0.19, timeout_s=60, what="answers without delay")
    finally:
        lab.close()


def _refused_after_s(address: str) -> float:
    """How long the kernel of a host needs to refuse a connection."""
    begun_s = time.monotonic()
    with pytest.raises(ConnectionRefusedError), socket.create_connection((address, 9), timeout=60):
        pass
    return time.monotonic() - begun_s
