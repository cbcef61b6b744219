"""What is known of a stack before its processes start; everything else is computed from it."""

from __future__ import annotations

import msgspec

from headrace.core.home import Endpoints, Home
from headrace.stack.assets import Assets
from headrace.stack.jdk import Jdk
from headrace.stack.options import StackOptions
from headrace.stack.ports import HOST


class StackContext(msgspec.Struct, frozen=True, kw_only=True):
    """Home, assets, JDK, ports and options of one stack; `flink_settings` is the cluster profile, `host` where Kafka and Flink listen."""

    home: Home
    assets: Assets
    jdk: Jdk
    ports: dict[str, int]
    options: StackOptions
    flink_settings: dict[str, str]
    host: str = HOST

    def endpoints(self) -> Endpoints:
        """The addresses for `stack.json`; of all processes, also those that were not asked for."""

        def http(name: str) -> str:
            return f"http://{self.host if name == 'flink' else HOST}:{self.ports[name]}"

        return Endpoints(
            kafka=f"{self.host}:{self.ports['kafka']}",
            flink=http("flink"),
            redis=f"{HOST}:{self.ports['redis']}",
            olap=http("olap"),
            headraced=http("headraced"),
            gateway=http("gateway"),
            steering=http("steering"),
            driver=str(self.home.driver_socket),
        )


def task_manager_names(options: StackOptions) -> list[str]:
    """`taskmanager-1` … `taskmanager-N`."""
    return [f"taskmanager-{number}" for number in range(1, options.task_managers + 1)]
