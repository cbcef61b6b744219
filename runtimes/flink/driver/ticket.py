"""A request in work, as the server and the operation both see it; no PyFlink here, so that the server is tested without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Ticket:
    """One request in work; `cancel`, once set, makes the worker's blocking call return soon."""

    cancel: Callable[[], None] | None = None


class JvmLost(Exception):
    """The JVM does not answer any more: the driver has to end."""
