"""Addresses of Hawk's processes, and of what they ask, as options give them."""

from __future__ import annotations

import socket

from headrace.core.errors import Invalid


def parse_address(text: str) -> tuple[str, int]:
    """`host:port` as the pair (IP address, port).

    Raises:
        Invalid: not of that form, or the name is not known.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise Invalid("address is not host:port", context={"address": text}, hint="for instance 10.0.0.1:7946")
    try:
        return socket.gethostbyname(host), int(port)
    except OSError as error:
        raise Invalid(f"host name is not known: {error}", context={"address": text}) from error
