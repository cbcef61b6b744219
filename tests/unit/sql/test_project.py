"""Project folders: reading from disk, the pure check of their files, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.platform_parts import PIPELINE, project_files, small_project

from headrace.core.errors import HeadraceError, Invalid, NotFound
from headrace.sql.project import FILE_BYTES_MAX, SourceFile, parse_project, read_dims, read_files


def test_a_folder_reads_as_its_files(tmp_path: Path) -> None:
    """Reading a folder gives the files in order, and dims by name."""
    for file in project_files():
        (tmp_path / file.path).parent.mkdir(exist_ok=True)
        (tmp_path / file.path).write_text(file.text)
    (tmp_path / "dims").mkdir()
    (tmp_path / "dims/city.csv").write_text("city\nx\n")
    files = read_files(tmp_path)
    assert [file.path for file in files] == [
        "headrace.toml",
        "tables/orders.sql",
        "tables/totals.sql",
        "pipelines/total.sql",
    ]
    project = parse_project(files)
    assert (project.name, project.target("local").parallelism) == ("shop", 2)
    assert [(dim.name, dim.text) for dim in read_dims(tmp_path, project)] == [("city", "city\nx\n")]


def test_a_folder_without_description_is_no_project(tmp_path: Path) -> None:
    """Without headrace.toml the sentence says what is missing."""
    with pytest.raises(NotFound, match=r"not a project folder"):
        read_files(tmp_path)


def test_a_file_that_is_not_utf8_names_its_line(tmp_path: Path) -> None:
    """The line of the first bad byte is named."""
    (tmp_path / "headrace.toml").write_bytes(b'name = "x"\n# \xff\n')
    with pytest.raises(Invalid, match=r"headrace.toml:2: file is not UTF-8"):
        read_files(tmp_path)


def test_a_missing_dim_file_is_named(tmp_path: Path) -> None:
    """A dim of the description must be there."""
    with pytest.raises(Invalid, match=r"dims/city.csv: cannot read file"):
        read_dims(tmp_path, small_project())


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("name = ", "headrace.toml:1: bad TOML"),
        ('name = "x"\na = = 1', "headrace.toml:2:5: bad TOML"),
        ("x = 1", "headrace.toml:1: unknown key in the project file"),
        ('name = "A b"', "headrace.toml:1: the project needs a name"),
        ('name = "a"\n[targets.local]\nparalelism = 2', "headrace.toml:3: unknown key in the project file"),
        ('name = "a"\n[targets.local]\nparallelism = 0', "headrace.toml:3: bad parallelism"),
        ('name = "a"\n[dims]\ncdn = "/etc/passwd"', "headrace.toml:3: a dim is the path of a CSV file"),
        ('name = "a"\n[dims]\ncdn = "../x.csv"', "headrace.toml:3: a dim is the path of a CSV file"),
    ],
)
def test_mistakes_in_the_description_have_a_place(toml: str, says: str) -> None:
    """Each mistake in headrace.toml is refused with its line."""
    with pytest.raises(Invalid) as caught:
        small_project(toml=toml)
    assert str(caught.value).startswith(says)


def test_two_pipelines_of_one_name_are_refused() -> None:
    """The second file is the place, the first one is named."""
    with pytest.raises(Invalid) as caught:
        small_project(pipelines__zzz=PIPELINE)
    assert str(caught.value.place) == "pipelines/zzz.sql:1"
    assert caught.value.context["other"] == "pipelines/total.sql"


@pytest.mark.parametrize("path", ["tables/../x.sql", "other/x.sql", "tables/a/b.sql", "/etc/passwd", "tables/x.txt"])
def test_strange_paths_are_refused(path: str) -> None:
    """A client cannot make the server take other files for a project's."""
    with pytest.raises(Invalid, match="does not belong to a project"):
        parse_project((*project_files(), SourceFile(path, "")))


def test_a_file_too_large_is_refused() -> None:
    """The limit holds for files that come over HTTP too."""
    with pytest.raises(Invalid, match="file is too large"):
        small_project(tables__big="x" * (FILE_BYTES_MAX + 1))


@pytest.mark.parametrize(("ask", "name", "near"), [("pipeline", "totla", "total"), ("target", "loca", "local")])
def test_unknown_names_offer_the_nearest(ask: str, name: str, near: str) -> None:
    """Pipelines and targets that do not exist are answered with the nearest names."""
    with pytest.raises(HeadraceError) as caught:
        getattr(small_project(), ask)(name)
    assert near in caught.value.hint
