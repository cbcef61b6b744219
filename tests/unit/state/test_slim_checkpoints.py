"""SlimBase's checkpoints: what the Python writer of the tests wrote is read back; damage is `Corrupt`, never a wrong row."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.state import slim_writer as w
from tests.unit.state.slim_writer import AUX, CHAINED, TOMBSTONE, Checkpoint, Entry, Named, write_checkpoint

from headrace.core.errors import Corrupt, HeadraceError, NotFound, Unsupported
from headrace.state import find_state, inspect_checkpoint

TTL_MS = 86_400_000


def long(value: int) -> bytes:
    """A long as LongSerializer writes it."""
    return struct.pack(">q", value)


def text(value: str) -> bytes:
    """An ASCII string as StringSerializer writes it."""
    return w.varint(len(value) + 1) + value.encode("ascii")


def block(*elements: int, room: int = 0) -> bytes:
    """A list's block of longs."""
    used = b",".join(long(element) for element in elements)
    return struct.pack("<II", len(used), len(elements)) + used + bytes(room)


def run(entries: dict[str, int | None]) -> bytes:
    """Entries of a map of strings to longs, in the order of their keys."""
    out = b""
    for key, value in sorted(entries.items()):
        data = b"\x01" if value is None else b"\x00" + long(value)
        out += w.varint(len(text(key))) + w.varint(len(data)) + text(key) + data
    return out


def small_map(entries: dict[str, int | None], room: int = 0) -> bytes:
    """A root with its entries."""
    return struct.pack("<BBHI", 0, 0, 0, len(entries)) + run(entries) + bytes(room)


def paged_root(pages: dict[int, dict[str, int | None]], removed: Sequence[str] = ()) -> bytes:
    """A root that lists pages, and what has left the first one; the first separator is empty."""
    directory, separators = b"", b""
    at = 16 + 12 * len(pages)
    for index, (number, entries) in enumerate(pages.items()):
        separator = b"" if index == 0 else text(min(entries))
        directory += struct.pack("<IIHH", number, at + len(separators), len(separator), 0)
        separators += separator
    count = sum(map(len, pages.values()))
    listed = b"".join(w.varint(len(text(key))) + text(key) for key in removed)
    head = struct.pack("<BBHIII", 1, 0, len(listed), count, len(pages), 99)
    return head + directory + separators + listed + bytes(5)


def page(entries: dict[str, int | None]) -> bytes:
    """A page of a map."""
    return struct.pack("<II", 0, len(entries)) + run(entries)


def records(path: Path, state: str, **options: Any) -> list[dict[str, Any]]:
    """All rows of a state of the one operator."""
    return list(find_state(path, operator="count", state=state).records(**options))


STATES = [
    Named("total", 0, "value", w.with_ttl(w.LONG), ttl_ms=TTL_MS),
    Named("seen", 1, "list", w.list_of(w.LONG)),
    Named("by_name", 2, "map", w.map_of(w.STRING, w.LONG)),
    Named("windows", 3, "aggregating", w.LONG, namespace=w.WINDOW),
    Named("timers", 4, "queue", w.timers_of(w.STRING, w.VOID)),
]
BIG = {1: {"a": 1, "b": None}, 5: {"m": 2}, 3: {"x": 3, "y": 4}}


def checkpoint() -> Checkpoint:
    """Two files over four key groups: values replaced and removed, list blocks chained across files, a small and a paged map."""
    first = [
        Entry(0, 0, text("amy"), long(1000) + long(1)),
        Entry(0, 0, text("bob"), long(1000) + long(2)),
        Entry(0, 1, text("amy"), block(1, 2)),
        Entry(0, 1, text("amy"), block(3, room=16), CHAINED),
        Entry(1, 2, text("cat"), small_map({"one": 1, "two": None}, room=7)),
        Entry(1, 3, text("cat") + long(0) + long(60_000), long(5)),
        Entry(2, 2, text("dan"), paged_root(BIG)),
        *(Entry(2, 2, text("dan") + struct.pack("<I", number), page(entries), AUX) for number, entries in BIG.items()),
    ]
    second = [
        Entry(0, 0, text("amy"), long(3000) + long(11)),
        Entry(0, 0, text("bob"), b"", TOMBSTONE),
        Entry(0, 1, text("amy"), block(4, 5), CHAINED),
        Entry(3, 0, text("eve"), long(4000) + long(9)),
    ]
    timers = [Entry(0, 4, struct.pack(">Q", (1 << 63) + 500) + text("amy") + b"\x00")]
    return Checkpoint(STATES, [first, second], timers, key=w.STRING)


@pytest.fixture
def chk(tmp_path: Path) -> Path:
    """The checkpoint's folder."""
    return write_checkpoint(tmp_path, checkpoint())


def test_later_files_win_and_tombstones_remove(chk: Path) -> None:
    """The newest value of each key, with its last access; a removed key is gone."""
    assert records(chk, "total") == [
        {"key_group": 0, "key": "amy", "value": 11, "last_access": 3000},
        {"key_group": 3, "key": "eve", "value": 9, "last_access": 4000},
    ]


def test_lists_are_joined_from_blocks_of_several_files(chk: Path) -> None:
    """Oldest block first; unused capacity is not read."""
    assert records(chk, "seen") == [{"key_group": 0, "key": "amy", "value": [1, 2, 3, 4, 5]}]


def test_maps_come_from_their_root_or_pages_in_order(chk: Path) -> None:
    """Small maps and paged ones, null values, room at the end."""
    found = [(row["key"], row["map_key"], row["value"]) for row in records(chk, "by_name")]
    assert found == [
        *(("cat", name, value) for name, value in {"one": 1, "two": None}.items()),
        *(("dan", name, value) for name, value in {"a": 1, "b": None, "m": 2, "x": 3, "y": 4}.items()),
    ]


def test_entries_that_have_left_the_first_page_by_the_root_are_not_there(tmp_path: Path) -> None:
    """They are in the page until it is written again; a key of the same name in another page is not meant."""
    root = Entry(2, 2, text("dan"), paged_root(BIG, removed=["b", "m"]))
    pages = [Entry(2, 2, text("dan") + struct.pack("<I", number), page(rows), AUX) for number, rows in BIG.items()]
    chk = write_checkpoint(tmp_path, Checkpoint(STATES, [[root, *pages]], [], key=w.STRING))
    assert [row["map_key"] for row in records(chk, "by_name")] == ["a", "m", "x", "y"]


def test_a_list_of_removed_keys_that_ends_too_early_is_corrupt(tmp_path: Path) -> None:
    """A root that says more than it has."""
    root = bytearray(paged_root(BIG))
    root[2:4] = struct.pack("<H", 9)
    pages = [Entry(2, 2, text("dan") + struct.pack("<I", number), page(rows), AUX) for number, rows in BIG.items()]
    entries = [Entry(2, 2, text("dan"), bytes(root)), *pages]
    chk = write_checkpoint(tmp_path, Checkpoint(STATES, [entries], [], key=w.STRING))
    with pytest.raises(Corrupt, match="list of removed keys ends too early"):
        records(chk, "by_name")


def test_namespaces_and_timers(chk: Path) -> None:
    """A window's namespace is told from its key; timers come from the file of their own."""
    assert records(chk, "windows") == [
        {"key_group": 1, "key": "cat", "namespace": {"start": 0, "end": 60_000}, "value": 5}
    ]
    assert records(chk, "timers") == [{"key_group": 0, "key": "amy", "timestamp": 500}]


def test_a_key_is_found_by_its_text(chk: Path) -> None:
    """`key` chooses rows; `limit` bounds them."""
    assert [row["map_key"] for row in records(chk, "by_name", key="cat")] == ["one", "two"]
    assert len(records(chk, "by_name", limit=3)) == 3


def test_inspection_counts_keys_tombstones_and_ttl(chk: Path) -> None:
    """Exact counts, the manifest's TTL, the backend's name."""
    (operator,) = inspect_checkpoint(chk).operators
    assert (operator.backend, operator.readable, operator.files) == ("slimbase", True, 4)
    counted = {state.name: (state.keys, state.entries, state.tombstones, state.ttl_ms) for state in operator.states}
    assert counted == {
        "total": (2, 2, 1, TTL_MS),
        "seen": (1, 1, 0, None),
        "by_name": (2, 7, 0, None),
        "windows": (1, 1, 0, None),
        "timers": (1, 1, 0, None),
    }
    assert operator.skew is not None
    assert (operator.skew.max_key_group, operator.skew.filled) == (0, 4)


def test_large_state_is_counted_from_footers(chk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit keys are at most what the files hold, and the report says so; `exact` counts."""
    monkeypatch.setattr("headrace.state.report.COUNT_BYTES_MAX", 0)
    total = inspect_checkpoint(chk).operators[0].states[0]
    assert (total.keys, total.keys_exact, total.tombstones) == (4, False, 1)
    assert inspect_checkpoint(chk, exact=True).operators[0].states[0].keys == 2


def test_manifests_of_the_first_version_are_read(tmp_path: Path, chk: Path) -> None:
    """Their rows lack the bytes of the index."""
    old = write_checkpoint(tmp_path / "old", replace(checkpoint(), manifest_version=1))
    assert records(old, "total") == records(chk, "total")


def test_shared_files_count_within_their_range_only(tmp_path: Path) -> None:
    """After a rescale a file may come twice, with two ranges, and the order of the manifest decides."""
    old = [Entry(group, 0, text("k"), long(0) + long(group)) for group in range(4)]
    new = [Entry(group, 0, text("k"), long(0) + long(100 + group)) for group in range(4)]
    made = Checkpoint(STATES[:1], [old, new], key=w.STRING, ranges={1: (1, 2)}, order=[1, 0, 1])
    assert [row["value"] for row in records(write_checkpoint(tmp_path, made), "total")] == [0, 101, 102, 3]


def test_key_groups_of_other_subtasks_are_ignored(tmp_path: Path) -> None:
    """Only the handle's own key groups."""
    old = [Entry(group, 0, text("k"), long(0) + long(group)) for group in range(4)]
    made = Checkpoint(STATES[:1], [old], key=w.STRING, first_key_group=2, key_groups=2)
    assert [row["value"] for row in records(write_checkpoint(tmp_path, made), "total")] == [2, 3]


def test_merged_files_are_parts_of_one(chk: Path) -> None:
    """With file merging several files are one; its folder below `shared` is found after a move too."""
    before = records(chk, "total"), records(chk, "by_name")
    w.merge_files(chk, checkpoint())
    assert (records(chk, "total"), records(chk, "by_name")) == before


def test_asynchronous_states_are_read_alike(tmp_path: Path) -> None:
    """Their snapshots have the serializers of elements and of map keys apart."""
    states = [
        Named("seen", 0, "list", w.LONG, asynchronous=True),
        Named("by_name", 1, "map", w.LONG, user_key=w.STRING, asynchronous=True),
    ]
    entries = [Entry(0, 0, text("amy"), block(1, 2)), Entry(0, 1, text("amy"), small_map({"one": 1}))]
    chk = write_checkpoint(tmp_path, Checkpoint(states, [entries], key=w.STRING))
    assert records(chk, "seen") == [{"key_group": 0, "key": "amy", "value": [1, 2]}]
    assert records(chk, "by_name") == [{"key_group": 0, "key": "amy", "map_key": "one", "value": 1}]


def test_entries_go_on_over_blocks(tmp_path: Path) -> None:
    """Many entries in small blocks, among them one larger than a block, against a dict."""
    dice = random.Random(7)
    model: dict[tuple[int, str], int] = {}
    files = []
    for number in range(3):
        entries = []
        for group in range(4):
            for name in sorted({f"key{dice.randrange(60)}" for _ in range(40)}):
                removed = number > 0 and dice.random() < 0.2
                value = dice.randrange(1 << 40)
                entries.append(Entry(group, 0, text(name), b"" if removed else long(0) + long(value), int(removed)))
                if removed:
                    model.pop((group, name), None)
                else:
                    model[group, name] = value
        files.append(entries)
    wide = "w" * 200
    files[2].append(Entry(3, 0, text(wide), long(0) + long(1)))
    model[3, wide] = 1
    chk = write_checkpoint(tmp_path, Checkpoint(STATES[:1], files, key=w.STRING), block_bytes=128)
    assert {(row["key_group"], row["key"]): row["value"] for row in records(chk, "total")} == model


Damage = Callable[[bytearray], None]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.__setitem__(slice(0, 4), b"SLUM"), "not a SlimBase file"),
        (lambda data: data.__delitem__(slice(len(data) - 5, None)), "shorter than its handle"),
        (lambda data: data.__setitem__(40, data[40] ^ 1), "block's checksum does not fit"),
        (lambda data: data.__setitem__(-50, data[-50] ^ 1), "footer's checksum does not fit"),
        (lambda data: data.__setitem__(-1, 0), "cut off"),
    ],
)
def test_damage_names_file_and_block(chk: Path, damage: Damage, message: str) -> None:
    """`Corrupt` with the file, and for a block its number and both checksums."""
    file = chk.parent / "shared" / "uuid-0"
    data = bytearray(file.read_bytes())
    damage(data)
    file.write_bytes(data)
    with pytest.raises(Corrupt, match=message) as raised:
        records(chk, "total")
    assert raised.value.context["file"] == str(file)
    if "block's" in message:
        assert {"block", "stored", "computed"} <= raised.value.context.keys()


def test_a_newer_version_is_unsupported(chk: Path) -> None:
    """Not taken for damage; when only one of the two places says so, it is damage."""
    file = chk.parent / "shared" / "uuid-0"
    data = bytearray(file.read_bytes())
    data[8] = 4
    file.write_bytes(data)
    with pytest.raises(Corrupt, match="versions of header and trailer"):
        records(chk, "total")
    data[-16] = 4
    file.write_bytes(data)
    with pytest.raises(Unsupported, match="version 4"):
        records(chk, "total")


def everything(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of all states."""
    return {state.name: records(path, state.name) for state in STATES}


@pytest.mark.parametrize("name", ["shared/uuid-0", "shared/uuid-1", "chk-7/uuid-timers", "chk-7/uuid-meta"])
def test_any_flipped_bit_is_corrupt_or_changes_nothing(chk: Path, name: str) -> None:
    """In every byte of header, blocks, footer, trailer and meta: no other row, no other error, no traceback.

    Only the header's reserved bytes may be flipped without being found.
    """
    file = chk.parent / name
    whole, rows = file.read_bytes(), everything(chk)
    unnoticed, named = [], set()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        file.write_bytes(data)
        try:
            assert everything(chk) == rows, place
            unnoticed.append(place)
        except Corrupt as error:
            named.add(error.context["file"])
    assert str(file) in named
    reserved = [] if "meta" in name else [*range(10, 16)]
    assert unnoticed == reserved


def test_a_flipped_bit_of_the_meta_names_both_checksums(chk: Path) -> None:
    """`Corrupt` with file, block and checksums, also from `inspect`, and also where the flip makes it look like RocksDB's."""
    file = chk / "uuid-meta"
    data = bytearray(file.read_bytes())
    data[data.index(struct.pack(">i", 0x534C4D4D))] ^= 1
    file.write_bytes(data)
    for call in (lambda: records(chk, "total"), lambda: inspect_checkpoint(chk)):
        with pytest.raises(Corrupt, match="meta file's checksum") as raised:
            call()
        assert raised.value.context.keys() >= {"file", "block", "stored", "computed"}
        assert raised.value.context["file"] == str(file)


def test_another_whole_file_in_the_place_of_one_is_corrupt(chk: Path) -> None:
    """Its checksums fit, but its segment number is not the manifest's."""
    shared, metadata = chk.parent / "shared", (chk / "_metadata").read_bytes()
    old, new = ((shared / name).read_bytes() for name in ("uuid-0", "uuid-1"))
    (shared / "uuid-0").write_bytes(new)
    path = "file:/gone/shared/uuid-0"
    (chk / "_metadata").write_bytes(metadata.replace(w.file_handle(path, len(old)), w.file_handle(path, len(new))))
    with pytest.raises(Corrupt, match="not the one that the manifest lists"):
        records(chk, "total")


def test_damaged_metadata_gives_an_error_of_ours(chk: Path) -> None:
    """Flink's `_metadata` has no checksum: whatever is flipped or cut off there, only typed errors come out."""
    file = chk / "_metadata"
    whole = file.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        for damaged in (bytes(data), whole[:place]):
            file.write_bytes(damaged)
            try:
                inspect_checkpoint(chk)
            except HeadraceError:
                continue
    file.write_bytes(whole)


def test_a_missing_file_is_not_found(chk: Path) -> None:
    """With the place where it was looked for."""
    (chk.parent / "shared" / "uuid-1").unlink()
    with pytest.raises(NotFound, match="file:/gone/shared/uuid-1"):
        records(chk, "total")


def test_a_missing_page_is_corrupt(tmp_path: Path) -> None:
    """A paged map whose page is not in any file."""
    made = Checkpoint([STATES[2]], [[Entry(0, 2, text("dan"), paged_root({1: {"a": 1}}))]], key=w.STRING)
    with pytest.raises(Corrupt, match="page of a map is missing"):
        records(write_checkpoint(tmp_path, made), "by_name")
