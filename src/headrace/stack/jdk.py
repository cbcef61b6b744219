"""Choose the JDK: Flink 2.3 and Kafka 4.2 run on 17 and 21.

Flink's own scripts fail on 24 and newer (the security manager is gone there), so other versions are refused with the list
of what was found. The version is read from the `release` file of the JDK; no JVM is started.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from headrace.core.errors import Unsupported

SUPPORTED = (17, 21)
_HINT = "install OpenJDK 17 or 21 (`apt-get install openjdk-17-jre-headless`), or set JAVA_HOME or `headrace.stack.java-home` to one"


class Jdk(msgspec.Struct, frozen=True):
    """A Java installation and its feature version; 0 when the version cannot be read."""

    home: Path
    version: int

    @property
    def java(self) -> Path:
        """The `java` command."""
        return self.home / "bin" / "java"


def read_jdk(home: Path) -> Jdk | None:
    """The JDK at `home`, or `None` if there is no `bin/java`."""
    if not (home / "bin" / "java").exists():
        return None
    try:
        text = (home / "release").read_text("utf-8", errors="replace")
    except OSError:
        return Jdk(home, 0)
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    return Jdk(home, int(found.group(1)) if found else 0)


def system_jdks(places: Iterable[Path] = (Path("/usr/lib/jvm"),)) -> list[Jdk]:
    """Installed JDKs: those in the usual folder, then the one `java` in PATH belongs to; without doubles."""
    homes = [entry for place in places if place.is_dir() for entry in sorted(place.iterdir())]
    command = shutil.which("java")
    if command:
        homes.append(Path(command).resolve().parent.parent)
    found: dict[Path, Jdk] = {}
    for home in homes:
        jdk = read_jdk(home)
        if jdk is not None:
            found.setdefault(home.resolve(), Jdk(home.resolve(), jdk.version))
    return list(found.values())


def choose_jdk(explicit: str, *, env: Mapping[str, str], installed: Iterable[Jdk]) -> Jdk:
    """The JDK to run with: the option, else `JAVA_HOME` if it fits, else the oldest fitting one installed.

    Raises:
        Unsupported: the option names a JDK that does not fit, or none that fits was found; says which were seen.
    """
    if explicit:
        jdk = read_jdk(Path(explicit))
        if jdk is None or jdk.version not in SUPPORTED:
            raise _wrong("the JDK that `headrace.stack.java-home` names does not fit", [jdk] if jdk else [], explicit)
        return jdk
    named = read_jdk(Path(env["JAVA_HOME"])) if env.get("JAVA_HOME") else None
    if named is not None and named.version in SUPPORTED:
        return named
    seen = list(installed)
    fitting = sorted((jdk for jdk in seen if jdk.version in SUPPORTED), key=lambda jdk: (jdk.version, str(jdk.home)))
    if fitting:
        return fitting[0]
    raise _wrong("no JDK 17 or 21 found", [*([named] if named else []), *seen], env.get("JAVA_HOME", ""))


def _wrong(message: str, seen: list[Jdk], asked: str) -> Unsupported:
    listed = ", ".join(f"{jdk.version or 'unknown'} at {jdk.home}" for jdk in seen) or "none"
    return Unsupported(message, context={"java_home": asked, "found": listed}, hint=_HINT)
