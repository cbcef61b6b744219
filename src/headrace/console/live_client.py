"""One connected page: what it wants to see, and the queue of what it is sent.

A page that does not drain its queue is dropped and comes back by itself with a fresh snapshot; so memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from headrace.console import live_model as m

CLIENT_QUEUE = 12  # messages: 3 ticks a second, 4 with state, so 3 to 4 s behind
HEARTBEAT_S = 2.0  # said in silence, so that a page can tell a quiet stack from a dead connection


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    """What a page wants to see."""

    selection: m.Selection = m.Selection()
    job: str = ""
    state: str = ""
    failures: bool = False


class Message(msgspec.Struct, frozen=True):
    """One server-sent event, encoded once for all pages with the same interest."""

    event: str
    data: str


class Client:
    """One connected page."""

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.queue: asyncio.Queue[Message | None] = asyncio.Queue(CLIENT_QUEUE)
        self.dropped = False

    def offer(self, messages: Sequence[Message]) -> bool:
        """Queue messages; False, and the page is dropped, when it is too far behind."""
        if self.dropped or self.queue.maxsize - self.queue.qsize() < len(messages):
            self.drop()
            return False
        for message in messages:
            self.queue.put_nowait(message)
        return True

    def drop(self) -> None:
        """End the page's stream: what is queued is thrown away."""
        self.dropped = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


async def next_message(queue: asyncio.Queue[Message | None]) -> Message | None:
    """The next of a page's messages, a heartbeat when there is none for a while; None at the end of its stream."""
    try:
        return await asyncio.wait_for(queue.get(), HEARTBEAT_S)
    except TimeoutError:
        return Message("heartbeat", "{}")
