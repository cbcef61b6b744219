"""Waiting in tests without sleeping blindly: poll a condition until a deadline, then say what was awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], *, timeout_s: float, what: str, every_s: float = 0.1) -> T:
    """Return the first truthy value of `predicate`; fail naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(every_s)


async def wait_until_async(predicate: Callable[[], T], *, timeout_s: float, what: str, every_s: float = 0.01) -> T:
    """As `wait_until`, for tests whose condition comes true on the event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        await asyncio.sleep(every_s)
