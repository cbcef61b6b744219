"""What the gateway reads from the stack's home: the schemas of streams, the prefix table and the CDN table.

The control plane writes these files; the gateway never asks it anything, so that killing `headraced` loses no beacon. A file is read
again when its modification time or size changes; one that cannot be read is logged once per change and the last good version
stays in use. A stream that is not known is looked for at once, so that a table can be used right after `headrace table apply`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from headrace.core.errors import Corrupt, HeadraceError, NotFound, nearest
from headrace.core.log import get_logger
from headrace.core.prefixes import PrefixTable
from headrace.core.schema import Table
from headrace.ingest.enrich import CdnTable
from headrace.ingest.streams import Stream

_log = get_logger("headrace.ingest.references")
_STREAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
T = TypeVar("T")


class _Watched(Generic[T]):
    """One file and the last good value made of it."""

    def __init__(self, path: Path, parse: Callable[[bytes], T], initial: T) -> None:
        self._path, self._parse = path, parse
        self.value = initial
        self._seen: tuple[int, int] | None = None

    def refresh(self) -> bool:
        """Read the file if it changed; gives whether the value did."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return False
            self._seen = seen
            self.value = self._parse(self._path.read_bytes())
        except FileNotFoundError:
            return False  # a table that was dropped stays until the process ends: players may still send
        except (OSError, UnicodeDecodeError, HeadraceError, msgspec.MsgspecError) as error:
            _log.warning("reference_not_read", path=str(self._path), error=str(error))
            return False
        _log.info("reference_read", path=str(self._path))
        return True


class References:
    """The files below `<home>/data` that ingest depends on."""

    def __init__(self, data: Path) -> None:
        self._schemas = data / "schemas"
        dims = data / "dims"
        self._streams: dict[str, _Watched[Stream | None]] = {}
        self._prefixes = _Watched(
            dims / "ip_prefix.csv", lambda raw: PrefixTable.parse(raw.decode(), file="ip_prefix.csv"), PrefixTable([])
        )
        self._cdns = _Watched(dims / "cdn.csv", lambda raw: CdnTable.parse(raw.decode(), file="cdn.csv"), CdnTable({}))

    @property
    def prefixes(self) -> PrefixTable:
        """Region and ISP by address."""
        return self._prefixes.value

    @property
    def cdns(self) -> CdnTable:
        """CDN by host."""
        return self._cdns.value

    def streams(self) -> list[Stream]:
        """All streams that can be written to."""
        return [watched.value for watched in self._streams.values() if watched.value is not None]

    def refresh(self) -> None:
        """Read what changed, and find new schemas."""
        self._prefixes.refresh()
        self._cdns.refresh()
        for path in self._schemas.glob("*.json"):
            if _STREAM_NAME.fullmatch(path.stem) and path.stem not in self._streams:
                self._streams[path.stem] = _Watched(path, _read_stream, None)
        for watched in self._streams.values():
            watched.refresh()

    def stream(self, name: str) -> Stream:
        """The stream of that name.

        Raises:
            NotFound: no table of that name takes beacons; offers the nearest names.
        """
        watched = self._streams.get(name)
        if watched is not None and watched.value is not None:
            return watched.value
        if watched is None and _STREAM_NAME.fullmatch(name) and (self._schemas / f"{name}.json").exists():
            self.refresh()
            if (found := self._streams[name].value) is not None:
                return found
        known = [stream.name for stream in self.streams()]
        close = ", ".join(nearest(name, known) or sorted(known)) or "none yet; run `headrace table apply`"
        raise NotFound("no such stream", context={"stream": name[:128]}, hint=f"known streams: {close}")


def _read_stream(raw: bytes) -> Stream | None:
    table = msgspec.json.decode(raw, type=Table)
    if table.layer != "ods":
        return None
    try:
        return Stream(table)
    except re.error as error:
        raise Corrupt(f"no parser for this table: {error}", context={"table": table.name}) from error
