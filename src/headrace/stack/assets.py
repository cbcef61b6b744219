"""Where the parts that are not Python packages lie: jar groups, the Flink distribution, the two interpreters.

The root is `HEADRACE_ROOT`, else the checkout that holds this package. Jars lie in `<root>/build/jars/<group>`, Flink in
the wheel inside `<root>/runtimes/flink/.venv`. Nothing here downloads; `make setup` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from headrace.core.errors import NotFound

ROOT_ENV = "HEADRACE_ROOT"
FLINK_JAR_GROUPS = ("connectors", "flink-extras", "headrace")
REQUIRED_GROUPS = ("kafka-broker", "connectors", "flink-extras")
_SETUP_HINT = "run `make setup` in the checkout"


class Assets(msgspec.Struct, frozen=True):
    """Folders of one checkout; `missing` says what is not there."""

    root: Path

    @property
    def cache(self) -> Path:
        """Things that can be made again: class archives, computed JVM parameters."""
        return self.root / "build" / "cache"

    @property
    def source(self) -> Path:
        """What goes on PYTHONPATH of the Flink environment, for the protocol that both environments share."""
        return self.root / "src"

    @property
    def runtime(self) -> Path:
        """Project folder of the Flink environment."""
        return self.root / "runtimes" / "flink"

    @property
    def runtime_python(self) -> Path:
        """Interpreter of the Flink environment."""
        return self.runtime / ".venv" / "bin" / "python"

    def jars(self, group: str) -> list[Path]:
        """The jars of a group, sorted; empty when it was not fetched."""
        return sorted((self.root / "build" / "jars" / group).glob("*.jar"))

    def flink_distribution(self) -> Path:
        """The folder of the wheel that holds bin, lib, opt and plugins.

        Raises:
            NotFound: the Flink environment is not installed.
        """
        found = sorted((self.runtime / ".venv" / "lib").glob("python3*/site-packages/pyflink"))
        if not found or not (found[0] / "lib").is_dir():
            raise NotFound(
                "Flink environment is not installed", context={"path": self.runtime / ".venv"}, hint=_SETUP_HINT
            )
        return found[0]

    def missing(self) -> list[str]:
        """Names of required parts that are absent."""
        parts = [f"jars/{group}" for group in REQUIRED_GROUPS if not self.jars(group)]
        try:
            self.flink_distribution()
        except NotFound:
            parts.append("runtimes/flink/.venv")
        return parts

    def check(self) -> None:
        """Refuse to start half a stack.

        Raises:
            NotFound: a required part is absent; names all of them.
        """
        missing = self.missing()
        if missing:
            raise NotFound(
                "parts of the stack are not installed", context={"missing": ", ".join(missing)}, hint=_SETUP_HINT
            )


def find_assets(env: Mapping[str, str] = os.environ) -> Assets:
    """The assets of `HEADRACE_ROOT` or of the checkout around this file."""
    return Assets(Path(env.get(ROOT_ENV) or Path(__file__).resolve().parents[3]).absolute())
