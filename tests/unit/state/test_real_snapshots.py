"""Checkpoints and savepoints that a real Flink wrote: SQL and Python jobs on hashmap, SlimBase and rocksdb, sixty orders of five cities."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.state.conftest import Unpack

from headrace.core.errors import Corrupt, HeadraceError, Invalid, NotFound, Unsupported
from headrace.state import find_state, inspect_checkpoint

CITIES = ["Porto", "Bergen", "Köln", "a city with a long name", "Lima"]
READABLE = [
    (f"{job}-{backend}", form)
    for job in ("sql", "python")
    for backend in ("hashmap", "slimbase", "rocksdb")
    for form in (("canonical", "native", "checkpoint") if backend != "rocksdb" else ("canonical",))
]


def rows(folder: Path, operator: str, state: str, **options: Any) -> list[dict[str, Any]]:
    """All rows of a state."""
    return list(find_state(folder, operator=operator, state=state).records(**options))


@pytest.mark.parametrize(("name", "form"), [case for case in READABLE if case[0].startswith("sql")])
def test_a_group_aggregation_is_read_to_the_last_digit(unpack: Unpack, name: str, form: str) -> None:
    """Binary rows with short and long decimals, strings, nulls; TTL around them; the key's text and its group."""
    found = {row["key"]["f0"]: row for row in rows(unpack(name) / form, "GroupAggregate", "accState")}
    assert sorted(found) == sorted(CITIES)
    for index, city in enumerate(CITIES):
        numbers = range(index, 60, 5)
        value = found[city]["value"]
        assert value["f0"] == 12
        assert value["f1"] == sum((Decimal(n) for n in numbers), Decimal("0.25") * 12)
        assert value["f2"] == Decimal(f"{max(numbers)}00000000000000000.5000")
        assert value["f4"] == 5
        assert 1_700_000_000_000 < found[city]["last_access"] < 4_000_000_000_000


@pytest.mark.parametrize(("name", "form"), [case for case in READABLE if case[0].startswith("sql")])
def test_maps_windows_and_timers_of_sql(unpack: Unpack, name: str, form: str) -> None:
    """Distinct counts, a join's sides, a rank's rows, a window's namespace and timers."""
    folder = unpack(name) / form
    distinct = Counter((row["key"]["f0"], row["map_key"]) for row in rows(folder, "GroupAggregate", "distinctAcc_0"))
    assert len(distinct) == 25
    assert distinct[("Köln", "note 3")] == 1
    right = {row["key"]["f0"]: row["map_key"]["f1"] for row in rows(folder, "Join", "right-records")}
    assert right == {n: CITIES[n % 5] for n in range(60)}
    best = {(row["key"]["f0"], row["map_key"]["f0"]) for row in rows(folder, "Rank", "data-state-with-append")}
    assert best == {(CITIES[n % 5], Decimal(f"{n}.25")) for n in range(50, 60)}
    windows = rows(folder, "GlobalWindow", "window-aggs")
    timers = rows(folder, "GlobalWindow", "event_window-timers")
    assert [row["value"]["f0"] for row in windows] == [12] * 5
    assert {row["namespace"] - 1 for row in windows} == {row["timestamp"] for row in timers}
    assert sorted(row["key"]["f0"] for row in timers) == sorted(CITIES)


@pytest.mark.parametrize(("name", "form"), [case for case in READABLE if case[0].startswith("python")])
def test_python_state_stays_bytes(unpack: Unpack, name: str, form: str) -> None:
    """PyFlink's values are byte arrays and are not unpickled; keys are rows; the uid names the operator."""
    folder = unpack(name) / form
    counts = rows(folder, "remember", "count")
    assert {row["key"]["f0"] for row in counts} == set(CITIES)
    assert all(row["value"] == [(12).to_bytes(8, "big")] for row in counts)
    notes = {(row["key"]["f0"], row["map_key"][4:].decode()) for row in rows(folder, "remember", "by_note")}
    assert notes == {(city, f"note {n}") for city in CITIES for n in range(3)}
    assert {row["timestamp"] for row in rows(folder, "remember", "processing_user-timers")} == {4_000_000_000_000}


@pytest.mark.parametrize("job", ["sql", "python"])
def test_all_formats_of_a_job_hold_the_same(unpack: Unpack, job: str) -> None:
    """Keys, entries and bytes per state agree between canonical and native, hashmap and rocksdb."""

    def counted(folder: Path) -> dict[tuple[str, str], tuple[int | None, int | None]]:
        return {
            (operator.id, state.name): (state.keys, state.entries)
            for operator in inspect_checkpoint(folder).operators
            for state in operator.states
        }

    folders = [unpack(name) / form for name, form in READABLE if name.startswith(job)]
    first = counted(folders[0])
    assert first
    assert all(counted(folder) == first for folder in folders)


def test_a_native_rocksdb_checkpoint_shows_states_but_no_rows(unpack: Unpack) -> None:
    """Files, bytes, states and serializers are listed; rows are `Unsupported`, with the way out."""
    folder = unpack("sql-rocksdb") / "checkpoint"
    found = inspect_checkpoint(folder)
    group = next(operator for operator in found.operators if "GroupAggregate" in operator.name)
    assert (group.backend, group.readable) == ("rocksdb or forst", False)
    assert "take a canonical savepoint" in group.note
    assert {state.name for state in group.states} >= {"accState", "distinctAcc_0"}
    assert group.size_bytes > 10_000
    with pytest.raises(Unsupported, match="rows of a native rocksdb"):
        rows(folder, "GroupAggregate", "accState")


def test_metadata_says_what_the_checkpoint_is(unpack: Unpack) -> None:
    """Kind and format come from the properties; operators of names, numbers and parallelism; a folder gives its newest."""
    canonical = inspect_checkpoint(unpack("sql-rocksdb") / "canonical")
    assert (canonical.kind, canonical.format, canonical.metadata_version) == ("savepoint", "canonical", 6)
    native = inspect_checkpoint(unpack("sql-slimbase") / "native")
    assert (native.kind, native.format) == ("savepoint", "native")
    checkpoint = inspect_checkpoint(unpack("sql-rocksdb") / "checkpoint")
    assert (checkpoint.kind, Path(checkpoint.path).name) == ("checkpoint", f"chk-{checkpoint.checkpoint_id}")
    source = next(operator for operator in checkpoint.operators if operator.name.startswith("Source"))
    assert source.operator_states[0].name == "SourceReaderState"
    assert (source.max_parallelism, source.parallelism) == (200, 2)


def test_keys_are_chosen_by_what_is_printed(unpack: Unpack) -> None:
    """One field's text, or a JSON list."""
    folder = unpack("sql-hashmap") / "canonical"
    assert len(rows(folder, "Join", "left", key="12")) == 1
    assert len(rows(folder, "Join", "left", key="[12]")) == 1
    assert len(rows(folder, "Join", "left", key='{"f0": 12}')) == 1
    assert rows(folder, "Join", "left", key="1200") == []


def test_what_is_left_out_is_the_only_one_or_is_asked_for(unpack: Unpack) -> None:
    """One operator with one state needs no names; of several, all are named."""
    several = unpack("sql-hashmap") / "canonical"
    with pytest.raises(Invalid, match="--operator"):
        find_state(several)
    with pytest.raises(Invalid, match=r"--state.*left.*right"):
        find_state(several, operator="Join")
    one = unpack("python-hashmap") / "canonical"
    with pytest.raises(Invalid, match="--state"):
        find_state(one)


def test_unknown_names_get_the_nearest(unpack: Unpack) -> None:
    """Of operators and of states."""
    folder = unpack("python-hashmap") / "canonical"
    with pytest.raises(NotFound, match="remember"):
        find_state(folder, operator="rembember", state="count")
    with pytest.raises(NotFound, match="python-state-count"):
        find_state(folder, operator="remember", state="python-state-cuont")
    with pytest.raises(NotFound, match="its states"):
        find_state(folder, operator="remember", state="zzz")


@pytest.mark.parametrize("seed", range(3))
def test_damage_gives_errors_of_ours_and_ends(unpack: Unpack, tmp_path: Path, seed: int) -> None:
    """Random bytes changed in any file: a typed error or some result, never another exception, never a hang."""
    dice = random.Random(seed)
    copy = tmp_path / "copy"
    shutil.copytree(unpack("sql-hashmap") / "canonical", copy)
    files = sorted(path for path in copy.iterdir())
    for _ in range(150):
        file = dice.choice(files)
        whole = file.read_bytes()
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        file.write_bytes(data[: dice.randrange(len(data))] if dice.random() < 0.2 else data)
        try:
            for operator in inspect_checkpoint(copy).operators:
                for state in operator.states:
                    rows(copy, operator.id, state.name, limit=50)
        except HeadraceError:
            pass
        file.write_bytes(whole)


@pytest.mark.parametrize("job", ["sql", "python"])
def test_a_flipped_bit_of_slimbases_files_is_corrupt_or_changes_nothing(
    unpack: Unpack, tmp_path: Path, job: str
) -> None:
    """Of files that SlimBase itself wrote: heads, ends, and bits between, of every kind of file."""
    dice = random.Random(5)
    shutil.copytree(unpack(f"{job}-slimbase") / "checkpoint", tmp_path / "copy")
    wanted = {"sql": ("GlobalWindow", "event_window-timers"), "python": ("remember", "by_note")}[job]

    def answer() -> tuple[Any, list[dict[str, Any]]]:
        return inspect_checkpoint(tmp_path / "copy"), rows(tmp_path / "copy", *wanted)

    right, refused = answer(), 0
    files = [path for path in (tmp_path / "copy").rglob("*") if path.is_file() and path.name != "_metadata"]
    for file in files:
        whole = file.read_bytes()
        for place in {0, 8, 17, len(whole) - 40, len(whole) - 20, len(whole) - 1, dice.randrange(len(whole))}:
            data = bytearray(whole)
            data[place] ^= 1 << dice.randrange(8)
            file.write_bytes(data)
            try:
                assert answer() == right, (file, place)
            except Corrupt:
                refused += 1
        file.write_bytes(whole)
    assert refused > 5 * len(files)


def test_no_folder_no_checkpoint(tmp_path: Path) -> None:
    """The hint says which folders are meant."""
    with pytest.raises(NotFound, match="no such folder"):
        inspect_checkpoint(tmp_path / "gone")
    with pytest.raises(NotFound, match="no checkpoint in"):
        inspect_checkpoint(tmp_path)


@pytest.mark.parametrize("form", ["native", "checkpoint"])
@pytest.mark.parametrize("job", ["sql", "python"])
def test_slimbase_files_hold_what_its_canonical_savepoint_holds(unpack: Unpack, job: str, form: str) -> None:
    """Every row of every state, but for the time of last access; the manifest says how long TTL is."""

    def strip(folder: Path, operator: str, state: str) -> list[str]:
        return sorted(str(row | {"last_access": 0}) for row in rows(folder, operator, state))

    base = unpack(f"{job}-slimbase")
    found = inspect_checkpoint(base / form)
    assert {operator.backend for operator in found.operators if operator.states} == {"slimbase"}
    for operator in found.operators:
        for state in operator.states:
            assert not state.ttl or state.ttl_ms == 86_400_000
            assert strip(base / form, operator.id, state.name) == strip(base / "canonical", operator.id, state.name)
