"""Archives of loaded Java classes (class data sharing), which the JVM maps instead of parsing jars again.

The first run of each kind of process writes one when it stops in order; later runs of any stack of this checkout use it. The name
carries JDK and class path, so a changed jar makes a new one; the JVM itself also checks and silently ignores a stale one.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

from headrace.stack.context import StackContext

# A class that a process has loaded only when it did what it is for. An archive without it speeds up the start but not the first
# job: a TaskManager that took over tasks without having run any before needed 3 to 5 s longer (bench/recovery.py). `failover` is a
# JobManager of which another stands by: what matters is how soon a standby, which has run nothing yet, restores a job.
MARKERS = {
    "taskmanager": b"org/apache/flink/streaming/runtime/tasks/OneInputStreamTask",
    "failover": b"org/apache/flink/runtime/checkpoint/StateAssignmentOperation",
}
KEEP = 2  # per kind, of some 50 MB each: the current one and that of the other JDK


def archive_flags(context: StackContext, kind: str, class_path: str, *, leader: bool) -> tuple[tuple[str, ...], str]:
    """JVM flags that use the archive of `kind` or, if there is none yet, write it at exit.

    Args:
        context: the stack.
        kind: kafka, jobmanager, failover (a JobManager that has a standby) or taskmanager.
        class_path: what the process runs with; the name of the archive depends on it.
        leader: whether this process writes the archive; one of several alike is enough.

    Returns:
        The flags, and the path to rename to the archive's once the process has ended, or an empty string.
    """
    if not context.options.class_archive:
        return (), ""
    path = archive_path(context, kind, class_path)
    if path.exists():
        return (f"-XX:SharedArchiveFile={path}", "-Xshare:auto"), ""
    if not leader:
        return (), ""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    return (f"-XX:ArchiveClassesAtExit={temporary}", "-Xlog:cds*=off"), str(path)


def archive_path(context: StackContext, kind: str, class_path: str) -> Path:
    """Where the archive of this JDK and class path lies."""
    facts = [str(context.jdk.home), str(context.jdk.version), *(marker.decode() for marker in MARKERS.values())]
    for jar in class_path.split(":"):
        status = os.stat(jar)
        facts.append(f"{jar} {status.st_size} {status.st_mtime_ns}")
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return context.assets.cache / "classes" / f"{kind}-{key}.jsa"


def adopt_archive(target: str, argv: tuple[str, ...], *, complete: bool) -> bool:
    """Move a written archive to its place and forget all but the newest `KEEP` of its kind.

    Args:
        target: where `archive_flags` wants it.
        argv: the command that wrote it, which names the temporary file.
        complete: whether the process had become ready; the archive of one that was stopped young lacks most classes and
            would make all later starts slower.

    Returns:
        Whether there is a new archive.
    """
    for argument in argv:
        if argument.startswith("-XX:ArchiveClassesAtExit="):
            temporary, path = Path(argument.partition("=")[2]), Path(target)
            kind = path.name.partition("-")[0]
            if not temporary.exists() or not complete or not _has_worked(temporary, kind):
                temporary.unlink(missing_ok=True)
                return False
            temporary.replace(path)
            alike = sorted(path.parent.glob(f"{kind}-*.jsa"), key=lambda other: other.stat().st_mtime_ns)
            for old in alike[:-KEEP]:
                old.unlink(missing_ok=True)
            return True
    return False


def _has_worked(archive: Path, kind: str) -> bool:
    marker = MARKERS.get(kind)
    if marker is None:
        return True
    with archive.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(marker) >= 0
