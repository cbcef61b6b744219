"""A project folder, as read from disk by the CLI and as sent to headraced: the same files, the same checks.

    headrace.toml      name, description, [targets.<name>] parallelism, [dims] name = "file.csv"
    tables/*.sql       one CREATE TABLE each
    pipelines/*.sql    a head (see `head`) and the statements of one job

`read_files` is the only part that touches the disk; `parse_project` is pure, so that server and command line refuse the same things
with the same words. Nothing here parses SQL.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from headrace.core.errors import Invalid, NotFound, Place, nearest
from headrace.sql.head import NAME, PARALLELISM_MAX, Head, parse_head

PROJECT_FILE = "headrace.toml"
FILE_BYTES_MAX = 1 << 20  # one file; the largest shipped pipeline has 12 kB
FILES_MAX = 500
_TOP_KEYS = ("name", "description", "targets", "dims")
_TARGET_KEYS = ("parallelism",)


class SourceFile(msgspec.Struct, frozen=True):
    """One text file of a project; `path` is relative to the folder, with forward slashes."""

    path: str
    text: str


class DimFile(msgspec.Struct, frozen=True):
    """A small table for the data plane: CSV with a header line."""

    name: str
    text: str
    path: str = ""


class Target(msgspec.Struct, frozen=True):
    """Where jobs of the project run; only the local stack exists so far."""

    name: str
    parallelism: int = 1


class Pipeline(msgspec.Struct, frozen=True):
    """One pipeline file: its head and its whole text."""

    head: Head
    file: SourceFile


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A validated project; `dim_paths` maps a dim's name to its file."""

    name: str
    description: str = ""
    targets: tuple[Target, ...]
    dim_paths: dict[str, str] = {}
    tables: tuple[SourceFile, ...] = ()
    pipelines: tuple[Pipeline, ...] = ()

    def target(self, name: str) -> Target:
        """The target of that name.

        Raises:
            NotFound: there is none; the nearest are offered.
        """
        for target in self.targets:
            if target.name == name:
                return target
        raise _not_found("target", name, [target.name for target in self.targets])

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline of that name.

        Raises:
            NotFound: there is none; the nearest are offered.
        """
        for pipeline in self.pipelines:
            if pipeline.head.name == name:
                return pipeline
        raise _not_found("pipeline", name, [pipeline.head.name for pipeline in self.pipelines])


def read_files(root: Path) -> tuple[SourceFile, ...]:
    """Read `headrace.toml`, `tables/*.sql` and `pipelines/*.sql` of a folder, sorted by path.

    Raises:
        NotFound: the folder has no `headrace.toml`.
        Invalid: a file is too large or not UTF-8, or there are too many; names the file.
    """
    if not (root / PROJECT_FILE).is_file():
        raise NotFound("not a project folder", context={"folder": root}, hint=f"it needs a `{PROJECT_FILE}`")
    paths = [root / PROJECT_FILE, *sorted(root.glob("tables/*.sql")), *sorted(root.glob("pipelines/*.sql"))]
    if len(paths) > FILES_MAX:
        raise Invalid("too many files in the project", context={"files": len(paths), "limit": FILES_MAX})
    return tuple(SourceFile(path.relative_to(root).as_posix(), read_text(path, root=root)) for path in paths)


def read_dims(root: Path, project: Project) -> tuple[DimFile, ...]:
    """Read the dim files that `headrace.toml` names.

    Raises:
        Invalid: a file is missing, too large, or not UTF-8.
    """
    return tuple(DimFile(name, read_text(root / path, root=root), path) for name, path in project.dim_paths.items())


def read_text(path: Path, *, root: Path) -> str:
    """One file's text, within `FILE_BYTES_MAX`; errors name it relative to `root`."""
    shown = path.relative_to(root).as_posix()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read file: {error.strerror}", place=Place(shown), hint="check its path") from error
    if len(data) > FILE_BYTES_MAX:
        raise Invalid("file is too large", place=Place(shown), context={"bytes": len(data), "limit": FILE_BYTES_MAX})
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Invalid("file is not UTF-8", place=Place(shown, line), hint="save it as UTF-8") from error


def parse_project(files: Iterable[SourceFile]) -> Project:
    """Validate the files of a project.

    Raises:
        Invalid: no or bad `headrace.toml`, a bad head, two pipelines of one name, a strange path; with the place.
    """
    by_path = {_checked_path(file): file for file in files}
    if PROJECT_FILE not in by_path:
        raise Invalid("the project lacks its description", hint=f'add `{PROJECT_FILE}` with `name = "…"`')
    document = _read_document(by_path[PROJECT_FILE])
    tables = tuple(file for path, file in sorted(by_path.items()) if path.startswith("tables/"))
    pipelines = tuple(
        Pipeline(parse_head(file.text, file=path), file)
        for path, file in sorted(by_path.items())
        if path.startswith("pipelines/")
    )
    _refuse_duplicates(pipelines)
    return Project(
        name=document["name"],
        description=document.get("description", ""),
        targets=document["targets"],
        dim_paths=document["dims"],
        tables=tables,
        pipelines=pipelines,
    )


def _checked_path(file: SourceFile) -> str:
    path = PurePosixPath(file.path)
    known = file.path == PROJECT_FILE or (
        len(path.parts) == 2 and path.parts[0] in ("tables", "pipelines") and path.suffix == ".sql"
    )
    if not known or ".." in path.parts:
        raise Invalid(
            "file does not belong to a project",
            context={"path": file.path},
            hint=f"`{PROJECT_FILE}`, `tables/*.sql` or `pipelines/*.sql`",
        )
    if len(file.text.encode()) > FILE_BYTES_MAX:
        raise Invalid("file is too large", place=Place(file.path), context={"limit": FILE_BYTES_MAX})
    return file.path


def _read_document(file: SourceFile) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        end = len(file.text.splitlines())  # else it is "at end of document"
        line, column = (int(found.group(1)), int(found.group(2))) if found else (end, 0)
        message = str(error).split(" (at ")[0]
        raise Invalid(
            f"bad TOML: {message[:1].lower()}{message[1:]}",
            place=Place(file.path, line, column),
            hint="check the line's syntax",
        ) from error
    _check_keys(document, _TOP_KEYS, file=file, section="")
    name = document.get("name")
    if not isinstance(name, str) or not NAME.match(name):
        raise Invalid(
            "the project needs a name of lower-case letters, digits, `_` and `-`",
            place=_key_place(file, "name"),
            context={"name": name},
            hint='`name = "my-project"`',
        )
    return {
        "name": name,
        "description": str(document.get("description", "")),
        "targets": _read_targets(document.get("targets", {"local": {}}), file),
        "dims": _read_dim_paths(document.get("dims", {}), file),
    }


def _read_targets(section: object, file: SourceFile) -> tuple[Target, ...]:
    if not isinstance(section, Mapping) or not all(isinstance(value, Mapping) for value in section.values()):
        raise Invalid("targets must be tables", place=_key_place(file, "targets"), hint="`[targets.local]`")
    targets = []
    for name, values in section.items():
        _check_keys(values, _TARGET_KEYS, file=file, section=f"targets.{name}.")
        parallelism = values.get("parallelism", 1)
        if not isinstance(parallelism, int) or not 1 <= parallelism <= PARALLELISM_MAX:
            raise Invalid(
                "bad parallelism",
                place=_key_place(file, "parallelism"),
                context={"parallelism": parallelism},
                hint=f"a whole number from 1 to {PARALLELISM_MAX}",
            )
        targets.append(Target(name, parallelism))
    return tuple(targets)


def _read_dim_paths(section: object, file: SourceFile) -> dict[str, str]:
    if not isinstance(section, Mapping):
        raise Invalid("dims must be a table", place=_key_place(file, "dims"), hint="`[dims]`")
    for name, path in section.items():
        if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise Invalid(
                "a dim is the path of a CSV file inside the project",
                place=_key_place(file, name),
                context={"dim": name, "path": path},
                hint='`cdn = "dims/cdn.csv"`',
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
            raise Invalid("bad dim name", place=_key_place(file, name), hint="lower-case letters, digits and `_`")
    return dict(section)


def _check_keys(values: Mapping[str, object], known: tuple[str, ...], *, file: SourceFile, section: str) -> None:
    for key in values:
        if key not in known:
            close = ", ".join(nearest(key, known)) or ", ".join(known)
            raise Invalid(
                "unknown key in the project file",
                place=_key_place(file, key),
                context={"key": section + key},
                hint=f"known here: {close}",
            )


def _key_place(file: SourceFile, key: str) -> Place:
    """The first line that mentions the key as `key =` or in a `[table]` head; TOML's parser keeps no places."""
    wanted = re.compile(rf"^\s*(\[[\w.\s-]*\b)?[\"']?{re.escape(key)}\b")
    for number, line in enumerate(file.text.splitlines(), start=1):
        if wanted.match(line):
            return Place(file.path, number)
    return Place(file.path)


def _refuse_duplicates(pipelines: tuple[Pipeline, ...]) -> None:
    seen: dict[str, str] = {}
    for pipeline in pipelines:
        name, path = pipeline.head.name, pipeline.file.path
        if name in seen:
            raise Invalid(
                "two pipelines have one name",
                place=Place(path, 1),
                context={"name": name, "other": seen[name]},
                hint="change `-- name:` in one of them",
            )
        seen[name] = path


def _not_found(noun: str, name: str, known: list[str]) -> NotFound:
    close = nearest(name, known) or sorted(known)
    hint = f"known: {', '.join(close)}" if close else f"the project has no {noun}"
    return NotFound(f"no such {noun} in the project", context={noun: name}, hint=hint)
