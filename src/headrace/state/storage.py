"""Find a checkpoint's folder and open the streams of its handles from a local or mounted file system.

Handles hold the paths of the machine that wrote them. A folder may have been copied since, so a file that is not where its path says is
looked for by its name where Flink puts such files: in the folder itself and in its neighbours `shared` and `taskowned` (merged files are
in folders below these).
Large files are mapped, not read.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headrace.core.errors import Corrupt, NotFound, Unsupported
from headrace.state.handles import Stream
from headrace.state.javadata import Buffer, DataReader

METADATA = "_metadata"
MAP_BYTES_MIN = 1 << 20  # smaller files are simply read
NEIGHBOURS = ("shared", "taskowned")
_CHECKPOINT = re.compile(r"chk-(\d+)")


def find_checkpoint(path: Path) -> Path:
    """The folder with `_metadata`: the path itself, its folder, or the newest `chk-N` below.

    Raises:
        NotFound: there is none.
    """
    if not path.exists():
        raise NotFound(
            f"no such folder: {path}",
            hint="give a checkpoint's or savepoint's folder, or a job's checkpoint folder; one on HDFS or S3 must be copied or mounted",
        )
    if path.name == METADATA and path.is_file():
        return path.parent
    if not path.is_dir():
        raise NotFound(f"not a folder: {path}", hint="unpack it first, or give the folder that holds `_metadata`")
    if (path / METADATA).is_file():
        return path
    direct = [found.parent for found in path.glob(f"*/{METADATA}")]
    if direct:
        return max(direct, key=lambda folder: (_number(folder), _written(folder)))
    deeper = [found.parent for found in path.glob(f"*/*/{METADATA}")]
    if deeper:
        return max(deeper, key=_written)
    raise NotFound(
        f"no checkpoint in {path}",
        hint="a folder is wanted that holds `_metadata`, or whose `chk-N` or `savepoint-...` do",
    )


def _number(folder: Path) -> int:
    numbered = _CHECKPOINT.fullmatch(folder.name)
    return int(numbered[1]) if numbered else -1


def _written(folder: Path) -> float:
    return (folder / METADATA).stat().st_mtime


class Storage:
    """Opens the streams of one checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def metadata(self) -> Buffer:
        """The bytes of `_metadata`."""
        return _content(self.folder / METADATA)

    def locate(self, stream: Stream) -> Path:
        """The file of a stream.

        Raises:
            NotFound: the file is nowhere.
            Unsupported: it is on another file system, and not copied along.
        """
        for candidate in self._candidates(stream):
            if candidate.is_file():
                return candidate
        scheme = urlsplit(stream.path).scheme
        if scheme not in {"", "file"}:
            raise Unsupported(
                f"a file of the checkpoint is on {scheme}: {stream.path}",
                hint="copy the checkpoint's folder with its neighbours `shared` and `taskowned` here, or mount the store",
            )
        raise NotFound(
            f"a file of the checkpoint is missing: {stream.path}",
            hint=f"it was looked for by name in {self.folder} and the neighbours {' and '.join(NEIGHBOURS)}; copy these along",
        )

    def _candidates(self, stream: Stream) -> list[Path]:
        if stream.relative:
            return [self.folder / stream.path]
        name = stream.name
        local = unquote(urlsplit(stream.path).path) if stream.path.startswith("file:") else stream.path
        neighbours = [
            self.folder.parent / neighbour / tail
            for neighbour in NEIGHBOURS
            for tail in {stream.path.rpartition(f"/{neighbour}/")[2], name}
        ]
        return [Path(local), self.folder / name, *neighbours]

    def open(self, stream: Stream) -> DataReader:
        """A reader of a stream's bytes.

        Raises:
            NotFound, Unsupported: as `locate`.
            Corrupt: the file is shorter than the handle says.
        """
        if stream.data is not None:
            return DataReader(stream.data, place=str(self.folder / METADATA))
        path = self.locate(stream)
        data = _content(path)
        end = stream.start + stream.size_bytes
        if len(data) < end:
            raise Corrupt(
                "a file of the checkpoint is shorter than its handle says",
                context={"file": path, "bytes": len(data), "wanted_bytes": end},
            )
        return DataReader(data, stream.start, end, place=str(path))


def _content(path: Path) -> Buffer:
    if path.stat().st_size < MAP_BYTES_MIN:
        return path.read_bytes()
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
