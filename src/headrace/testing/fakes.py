"""Fakes over mocks: small real implementations of the seams."""

from __future__ import annotations


class FakeClock:
    """A clock that moves only when told; `sleep` moves it and records the wait."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 0.0
        self.sleeps: list[float] = []

    def now_ms(self) -> int:
        """Wall time in ms."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Monotonic seconds."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds

    def sleep(self, seconds: float) -> None:
        """Move forward at once instead of waiting."""
        self.sleeps.append(seconds)
        self.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Move forward at once instead of waiting."""
        self.sleep(seconds)
