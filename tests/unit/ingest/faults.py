"""A sink that fails on demand, and a gateway without a network around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.ingest.app import GatewayApp, HttpLimits
from headrace.ingest.budget import Budget
from headrace.ingest.enrich import Proxies
from headrace.ingest.intake import Intake, IntakeLimits
from headrace.ingest.ledger import Gauges, Ledger
from headrace.ingest.references import References
from headrace.ingest.sink import Message
from headrace.testing.beacons import cmcd_raw_table, write_home
from headrace.testing.fakes import FakeClock

DIMS = {
    "ip_prefix": "prefix,region,isp\n10.16.0.0/14,north,unicom\n",
    "cdn": "cdn,hosts\nA,10.77.0.2\nB,10.77.0.3\n",
}
BODY_BYTES_MAX = 10_000


class FaultySink:
    """Keeps what it acknowledges; `fails` says how many messages of a batch it loses, `hold` lets answers wait."""

    def __init__(self, fails: Callable[[int], int] = lambda count: 0) -> None:
        self.topics: dict[str, list[dict[str, Any]]] = {}
        self.keys: list[str] = []
        self.fails = fails
        self.stalled = False
        self.hold = False
        self._held: list[Callable[[], None]] = []

    def send(self, topic: str, messages: list[Message]) -> asyncio.Future[int]:
        """Acknowledge all but the last `fails(n)` messages, now or when released."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        failed = self.fails(len(messages)) if messages else 0

        def answer() -> None:
            for message in messages[: len(messages) - failed]:
                self.topics.setdefault(topic, []).append(msgspec.json.decode(message["value"]))
                self.keys.append(message.get("key", ""))
            future.set_result(failed)

        if self.hold and messages:
            self._held.append(answer)
        else:
            answer()
        return future

    def release(self) -> None:
        """Give the answers that were held back."""
        held, self._held = self._held, []
        for answer in held:
            answer()

    def ensure_topics(self, partitions: dict[str, int]) -> None:
        """Topics need not exist here."""

    async def close(self, timeout_s: float) -> int:
        """Nothing is ever left."""
        return 0


class World:
    """One gateway with its sink, books and clock."""

    def __init__(self, folder: Path, *, sink: FaultySink | None = None, budget_bytes: int = 1 << 20) -> None:
        self.clock = FakeClock()
        self.sink = sink or FaultySink()
        self.ledger = Ledger()
        self.budget = Budget(budget_bytes, waiters_max=8)
        self.home = write_home(folder, tables=[cmcd_raw_table()], dims=DIMS)
        self.references = References(self.home.data)
        self.references.refresh()
        limits = IntakeLimits(line_bytes_max=2000, inflated_bytes_max=20_000, batch_rows_max=100, skew_limit_ms=600_000)
        self.intake = Intake(
            self.references, self.sink, self.ledger, budget=self.budget, limits=limits, clock=self.clock
        )
        http = HttpLimits(body_bytes_max=BODY_BYTES_MAX, body_timeout_s=5, admit_timeout_s=0.05)
        self.app = GatewayApp(
            self.intake, self.references, self.ledger, budget=self.budget, limits=http, proxies=Proxies(["127.0.0.0/8"])
        )
        self.app.gauges = lambda: Gauges(
            shed_share=self.intake.shed_share, in_flight_bytes=self.budget.used_bytes, budget_bytes=1,
            kafka_stalled=self.sink.stalled, sessions=0, loop_lag_ms=0, rss_bytes=0, cpu_s=0,
        )  # fmt: skip

    def line(self, sid: str = "s0", *, more: str = "", ahead_ms: int = 0) -> str:
        """A good beacon of now."""
        return f'e=ps,sid="{sid}",sn=1,sta=p,ts={self.clock.now_ms() + ahead_ms}{more}'

    async def post(self, body: bytes, *, stream: str = "cmcd_raw", **headers: str) -> Response:
        """POST a body in one part; underscores in header names stand for hyphens."""
        return await self.request("POST", f"/v1/beacons/{stream}", [body], **headers)

    async def request(self, method: str, path: str, parts: list[bytes] | None = None, **headers: str) -> Response:
        """Any request through the ASGI face; a body that ends with None breaks off."""
        parts = parts if parts is not None else [b""]
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields.setdefault("content-length", str(sum(map(len, parts))))
        if fields["content-length"] == "none":
            del fields["content-length"]
        scope = {
            "type": "http", "method": method, "path": path, "client": ("127.0.0.1", 5000),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }  # fmt: skip
        messages = [
            {"type": "http.request", "body": part, "more_body": at < len(parts) - 1} for at, part in enumerate(parts)
        ]
        response = Response()

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        await self.app(scope, receive, response.take)
        return response


class Response:
    """What came back."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def take(self, message: dict[str, Any]) -> None:
        """One ASGI message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)
