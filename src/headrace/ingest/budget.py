"""The bound on memory: bytes that requests in work and messages in flight may hold together.

A request is admitted while less than `admit` of the budget is in use, else it waits unread (TCP holds the client
back), and after a time-out is answered 503. Once admitted it may grow (decompressed, encoded) up to the whole budget. So bodies cannot
starve the messages made of them, and nothing that already holds a share ever waits for more: no deadlock.
"""

from __future__ import annotations

import asyncio
from collections import deque

ADMIT_SHARE = 0.75


class Budget:
    """Bytes in use, with a first-come-first-served queue for admission; lives on one event loop."""

    def __init__(self, limit_bytes: int, *, waiters_max: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._admit_bytes = int(limit_bytes * ADMIT_SHARE)
        self._waiters_max = waiters_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> float:
        """Share of the budget in use; a queue of waiters counts as full."""
        return 1.0 if self._waiting else self.used_bytes / self.limit_bytes

    def try_admit(self, size_bytes: int) -> bool:
        """Take `size_bytes` for a new request if that is possible at once."""
        if self._waiting or self.used_bytes + size_bytes > self._admit_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    async def admit(self, size_bytes: int, timeout_s: float) -> bool:
        """Take `size_bytes` for a new request, waiting for at most `timeout_s`."""
        if self.try_admit(size_bytes):
            return True
        if len(self._waiting) >= self._waiters_max or size_bytes > self._admit_bytes:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            got_turn = turn.done() and not turn.cancelled()
            self._waiting = deque(waiter for waiter in self._waiting if waiter[1] is not turn)
            if isinstance(error, TimeoutError):
                return got_turn
            if got_turn:
                self.release(size_bytes)
            raise
        return True

    def resize(self, held_bytes: int, wanted_bytes: int) -> bool:
        """Change what an admitted request holds; refused (and unchanged) when the whole budget does not suffice."""
        if wanted_bytes > held_bytes and self.used_bytes + wanted_bytes - held_bytes > self.limit_bytes:
            return False
        self.used_bytes += wanted_bytes - held_bytes
        self._wake()
        return True

    def release(self, held_bytes: int) -> None:
        """Give back all that a request holds."""
        self.used_bytes -= held_bytes
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.used_bytes + self._waiting[0][0] <= self._admit_bytes:
            size_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self.used_bytes += size_bytes
                turn.set_result(None)
