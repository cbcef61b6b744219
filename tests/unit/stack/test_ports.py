"""Ports are chosen once, kept, and a taken one is named with its owner."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from headrace.core.errors import Unavailable
from headrace.stack.ports import (
    BLOCK,
    POOL_END,
    POOL_START,
    PORT_NAMES,
    check_ports,
    is_free,
    load_or_plan_ports,
    plan_ports,
)


def test_two_homes_get_blocks_that_do_not_touch() -> None:
    """Two stacks side by side must not share a port, whatever block the first one got."""
    first = plan_ports(Path("/a"), base=0, free=lambda port: True)
    second = plan_ports(Path("/a"), base=0, free=lambda port: port not in first.values())
    assert set(first.values()).isdisjoint(second.values())
    assert set(first) == set(PORT_NAMES)
    assert all(POOL_START <= port < POOL_END for port in (*first.values(), *second.values()))


def test_a_block_with_one_taken_port_is_skipped_whole() -> None:
    """Blocks are all or nothing, so that a stack's ports are easy to recognise."""
    wanted = plan_ports(Path("/a"), base=0, free=lambda port: True)
    taken = wanted["olap"]
    ports = plan_ports(Path("/a"), base=0, free=lambda port: port != taken)
    assert (min(ports.values()) - min(wanted.values())) % BLOCK == 0
    assert ports != wanted


def test_a_full_pool_is_said() -> None:
    """When nothing is free the search ends with an error, not a loop."""
    with pytest.raises(Unavailable, match="no free block"):
        plan_ports(Path("/a"), base=0, free=lambda port: False)


def test_an_asked_base_that_is_taken_names_the_port() -> None:
    """A configured port that is taken is the user's to resolve: never silently replaced."""
    with pytest.raises(Unavailable, match="already taken") as caught:
        plan_ports(Path("/a"), base=25_000, free=lambda port: port != 25_002)
    assert caught.value.context["port"] == "25002"
    assert "port-base" in caught.value.hint


def test_ports_survive_a_restart_of_the_stack(tmp_path: Path) -> None:
    """Kafka must come back on its port, since running jobs carry it in their state."""
    path = tmp_path / "data" / "ports.json"
    first = load_or_plan_ports(path, tmp_path, base=0, free=lambda port: True)
    second = load_or_plan_ports(path, tmp_path, base=0, free=lambda port: port not in first.values())
    assert first == second


def test_a_damaged_ports_file_is_replaced(tmp_path: Path) -> None:
    """A file that cannot be read is as good as none."""
    path = tmp_path / "ports.json"
    path.write_text("{")
    assert set(load_or_plan_ports(path, tmp_path, base=0, free=lambda port: True)) == set(PORT_NAMES)


def test_a_taken_port_names_its_purpose_and_its_owner(tmp_path: Path) -> None:
    """The error says which port, what for, who holds it, and what to do."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(Unavailable, match="port of kafka is already taken") as caught:
            check_ports({"kafka": port}, path=tmp_path / "ports.json", names=["kafka"])
    assert str(os.getpid()) in caught.value.context["used_by"]
    assert "ports.json" in caught.value.hint
