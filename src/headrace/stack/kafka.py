"""One Kafka broker in KRaft mode, as properties: broker and controller in one process, storage formatted on first start."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

from headrace.stack.context import StackContext

_LOG4J = """\
status = error
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Out
appender.out.name = Out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c - %m%n
"""


def data_folder(context: StackContext) -> Path:
    """Where the broker keeps its logs."""
    return context.home.data / "kafka"


def config_folder(context: StackContext) -> Path:
    """Where the rendered properties lie."""
    return context.home.run / "kafka"


def render_properties(context: StackContext) -> str:
    """`server.properties` of the broker; one line per setting, with the reason where it is not a plain address."""
    ports = context.ports
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{context.host}:{ports['kafka']},CONTROLLER://{context.host}:{ports['kafka-controller']}",
        "advertised.listeners": f"PLAINTEXT://{context.host}:{ports['kafka']}",
        "controller.quorum.bootstrap.servers": f"{context.host}:{ports['kafka-controller']}",
        "log.dirs": str(data_folder(context)),
        "log.retention.hours": str(context.options.kafka_retention_hours),
        "log.segment.bytes": str(256 << 20),
        # one broker: everything that defaults to three copies has one
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # topics come from tables; a typing error must not make one
        "auto.create.topics.enable": "false",
        # a local consumer need not wait for a group that will not grow
        "group.initial.rebalance.delay.ms": "0",
        # Flink's exactly-once sinks ask for up to an hour between checkpoints
        "transaction.max.timeout.ms": "3600000",
        # an orderly stop ends a single broker at once: there is nobody to hand leadership to
        "controlled.shutdown.enable": "false",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def write_config(context: StackContext) -> None:
    """Write the broker's properties and log configuration."""
    folder = config_folder(context)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.properties").write_text(render_properties(context), "utf-8")
    (folder / "log4j2.properties").write_text(_LOG4J, "utf-8")


def classpath(context: StackContext) -> str:
    """All jars of the broker's group, one by one: the JVM's class archive does not accept wildcards."""
    return ":".join(str(jar) for jar in context.assets.jars("kafka-broker"))


def broker_command(context: StackContext, jvm: tuple[str, ...]) -> tuple[str, ...]:
    """Argv of the broker."""
    folder = config_folder(context)
    return (
        str(context.jdk.java),
        f"-Xmx{context.options.kafka_heap_mb}m",
        f"-Xms{context.options.kafka_heap_mb // 2}m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        *jvm,
        f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        "-cp",
        classpath(context),
        "kafka.Kafka",
        str(folder / "server.properties"),
    )


def format_command(context: StackContext) -> tuple[str, ...]:
    """Argv of the storage tool that makes the data folder of a new broker."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid5(uuid.NAMESPACE_URL, str(context.home.root)).bytes).decode()
    folder = config_folder(context)
    return (
        str(context.jdk.java),
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        "-cp",
        classpath(context),
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        f"--cluster-id={cluster_id.rstrip('=')}",  # one word: an id may begin with a dash
        "-c",
        str(folder / "server.properties"),
    )
