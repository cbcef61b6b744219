"""The seams through which `ensure` creates things outside: topics on a broker, tables in an OLAP engine.

Real ones: `KafkaTopics` (the broker's admin protocol) and `OlapHttp` (ClickHouse's HTTP face). Tests use fakes of the two Protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from headrace.core.errors import Conflict, Invalid, Unavailable

REQUEST_TIMEOUT_S = 20.0


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic as wanted; `config` only lists what is not the broker's default."""

    name: str
    partitions: int
    config: dict[str, str]


class Topics(Protocol):
    """Creates and widens topics."""

    def ensure(self, spec: TopicSpec) -> str:
        """Make the topic be as specified; returns created, widened, configured or unchanged.

        Raises:
            Conflict: it has more partitions than wanted.
            Unavailable: the broker does not answer.
        """
        ...


class OlapDoor(Protocol):
    """Runs statements on an OLAP engine."""

    def execute(self, sql: str) -> None:
        """Run a statement without rows."""
        ...

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run a query and return its rows by column name."""
        ...


@dataclass(frozen=True)
class Externals:
    """What `ensure` may reach."""

    topics: Topics
    olap: OlapDoor


class KafkaTopics:
    """Topics through the broker's admin protocol; connects at the first call."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: AdminClient | None = None

    def ensure(self, spec: TopicSpec) -> str:
        """Create the topic, add partitions, or set its configuration, whichever is needed."""
        client = self._admin()
        try:
            present = client.list_topics(timeout=REQUEST_TIMEOUT_S).topics.get(spec.name)
            if present is None:
                new = NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=1, config=spec.config)
                _wait(client.create_topics([new], request_timeout=REQUEST_TIMEOUT_S))
                return "created"
            return self._adjust(client, spec, partitions=len(present.partitions))
        except KafkaException as error:
            raise Unavailable(
                f"the broker refused: {error.args[0].str() if error.args else error}",
                operation="topic.ensure",
                context={"topic": spec.name, "broker": self._bootstrap},
                hint="is Kafka up? see `headrace status`",
            ) from error

    def _admin(self) -> AdminClient:
        if self._client is None:
            self._client = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 3})
        return self._client

    def _adjust(self, client: AdminClient, spec: TopicSpec, *, partitions: int) -> str:
        if partitions > spec.partitions:
            raise Conflict(
                "the topic has more partitions than declared",
                operation="topic.ensure",
                context={"topic": spec.name, "partitions": partitions, "declared": spec.partitions},
                hint=f"declare 'partitions' = '{partitions}': a topic cannot shrink",
            )
        done = "unchanged"
        if partitions < spec.partitions:
            _wait(client.create_partitions([NewPartitions(spec.name, spec.partitions)]))
            done = "widened"
        resource = ConfigResource(ResourceType.TOPIC, spec.name)
        current = _wait(client.describe_configs([resource]))[0]
        differing = {
            key: value for key, value in spec.config.items() if key not in current or current[key].value != value
        }
        if differing:
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in differing.items()
            ]
            _wait(
                client.incremental_alter_configs(
                    [ConfigResource(ResourceType.TOPIC, spec.name, incremental_configs=entries)]
                )
            )
            done = "configured" if done == "unchanged" else done
        return done


def _wait(futures: Mapping[Any, Future[Any]]) -> list[Any]:
    return [future.result(timeout=REQUEST_TIMEOUT_S) for future in futures.values()]


class OlapHttp:
    """An OLAP engine behind ClickHouse's HTTP face."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self._url = url
        self._client = client or httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False)

    def execute(self, sql: str) -> None:
        """Run a statement without rows."""
        self._post(sql)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run a query and return its rows by column name."""
        lines: Sequence[bytes] = self._post(f"{sql} FORMAT JSONEachRow").splitlines()
        return [msgspec.json.decode(line, type=dict[str, Any]) for line in lines if line]

    def _post(self, sql: str) -> bytes:
        try:
            response = self._client.post(self._url, content=sql.encode())
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the OLAP engine does not answer: {error}",
                operation="olap.execute",
                context={"url": self._url},
                hint="see `headrace status`",
            ) from error
        if response.status_code >= 500 and "X-ClickHouse-Exception-Code" not in response.headers:
            raise Unavailable(
                "the OLAP engine is not ready", operation="olap.execute", context={"status": response.status_code}
            )
        if response.status_code >= 400:
            raise Invalid(
                f"the OLAP engine refused: {response.text.strip()[:500]}",
                operation="olap.execute",
                context={"sql": sql[:200]},
            )
        return response.content
