"""The native engine and its file reader from Python; skipped where Rust could not be built."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from tests.unit.state import slim_writer

from headrace.core.errors import KINDS, Corrupt, HeadraceError, Internal, Invalid, NotFound, Throttled, Unsupported
from headrace.state import engine as native
from headrace.state.engine import open_engine, open_segment
from headrace.state.javadata import DataReader
from headrace.state.slimfile import SegmentReader

pytestmark = pytest.mark.skipif(not native.is_available(), reason="the native state engine was not built")

Model = dict[bytes, bytes]


def _random_key(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([1, 2, 8]))


def _fill(engine: object, model: Model, rng: random.Random, operations: int) -> None:
    for _ in range(operations):
        key = _random_key(rng)
        if rng.random() < 0.7:
            value = rng.randbytes(rng.choice([0, 8, 9, 100, 70_000 if rng.random() < 0.01 else 20]))
            engine.put(key, value)  # type: ignore[attr-defined]
            model[key] = value
        else:
            assert engine.delete(key) == (model.pop(key, None) is not None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(3))
def test_engine_agrees_with_a_dict_through_checkpoints(seed: int, tmp_path: Path) -> None:
    """Puts, deletes, checkpoints and restores give what a dict gives."""
    rng, model = random.Random(seed), Model()
    engine = open_engine(budget_bytes=64 << 20, key_groups=16)
    for _ in range(5):
        _fill(engine, model, rng, 2_000)
        engine.checkpoint(tmp_path / "checkpoint")
        assert dict(engine.iterate()) == model
        assert engine.get_many(list(model)) == list(model.values())
        if rng.random() < 0.5:
            engine.close()
            engine = open_engine(budget_bytes=64 << 20, key_groups=16)
            engine.restore([tmp_path / "checkpoint"])
    assert dict(engine.iterate()) == model
    assert engine.count() == len(model)
    assert engine.get(b"never there") is None


def test_rescale_by_key_groups(tmp_path: Path) -> None:
    """Two engines restore halves of one checkpoint; a third restores both again."""
    rng, model = random.Random(1), Model()
    with open_engine(budget_bytes=32 << 20, key_groups=16) as whole:
        _fill(whole, model, rng, 3_000)
        whole.checkpoint(tmp_path / "whole")
    union = Model()
    for name, first, count in (("low", 0, 5), ("high", 5, 11)):
        with open_engine(budget_bytes=32 << 20, key_groups=16, first_key_group=first, key_group_count=count) as half:
            half.restore([tmp_path / "whole"])
            union.update(half.iterate())  # type: ignore[arg-type]
            half.checkpoint(tmp_path / name)
    assert union == model
    with open_engine(budget_bytes=32 << 20, key_groups=16) as again:
        again.restore([tmp_path / "low", tmp_path / "high"])
        assert dict(again.iterate()) == model


def test_lists_take_any_bytes(tmp_path: Path) -> None:
    """Elements with delimiters in them come back as they were, also from a file."""
    elements = [b",", b"", b"a,b", bytes(300), b"\x80,"]
    with open_engine(budget_bytes=8 << 20) as engine:
        for element in elements:
            engine.append(b"k", element, state=3)
            engine.checkpoint(tmp_path)
        assert engine.get_list(b"k", state=3) == elements
        assert list(engine.iterate(state=3)) == [(b"k", elements)]
        with pytest.raises(Invalid, match="another kind"):
            engine.put(b"k", b"v", state=3)
    with open_engine(budget_bytes=8 << 20) as engine:
        engine.restore([tmp_path])
        assert engine.get_list(b"k", state=3) == elements
        with pytest.raises(Invalid, match="another kind"):
            engine.get(b"k", state=3)


def test_full_engine_is_throttled_and_keeps_its_state() -> None:
    """Beyond the budget comes an error that names sizes; what was there stays readable, and removals help."""
    with open_engine(budget_bytes=2 << 20) as engine:
        with pytest.raises(Throttled, match="does not fit") as full:
            engine.put_many([(number.to_bytes(8, "big"), bytes(50)) for number in range(100_000)])
        assert full.value.retryable
        assert "budget" in full.value.hint
        assert full.value.context["budget_bytes"] == str(2 << 20)
        count = engine.count()
        assert len(dict(engine.iterate())) == count > 5_000
        for number in range(1_000):
            assert engine.delete(number.to_bytes(8, "big"))
        engine.put(b"again", bytes(50))


def test_errors_are_the_platforms_kinds(tmp_path: Path) -> None:
    """Kinds have the same names; wrong calls, missing folders, closed engines and panics have theirs."""
    module = native._native()
    assert list(KINDS) == module.KINDS
    with pytest.raises(Invalid):
        open_engine(budget_bytes=1 << 20, key_groups=0)
    engine = open_engine(budget_bytes=1 << 20)
    with pytest.raises(Invalid):
        engine.put(b"k", b"v", state=1024)
    with pytest.raises(Invalid):
        engine.put(b"k", b"v", key_group=128)
    with pytest.raises(NotFound):
        engine.restore([tmp_path / "nowhere"])
    with pytest.raises(Internal, match="on purpose"):
        module.panic_for_test()
    engine.put(b"k", b"v")
    with pytest.raises(Invalid, match="never written"):
        engine.restore([tmp_path])
    engine.close()
    engine.close()
    with pytest.raises(Invalid, match="closed"):
        engine.get(b"k")


def test_missing_module_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the native module the error names what to install."""

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(native.importlib, "import_module", absent)
    with pytest.raises(Unsupported, match="cargo"):
        open_engine(budget_bytes=1)
    assert not native.is_available()


def _checkpointed(folder: Path) -> Path:
    with open_engine(budget_bytes=32 << 20, key_groups=8) as engine:
        for number in range(6_000):
            engine.put(number.to_bytes(4, "big"), number.to_bytes(8, "big"), state=number % 2)
        engine.checkpoint(folder)
    return max(folder.glob("*.slim"), key=lambda path: path.stat().st_size)


def test_segment_file_is_read_in_ranges(tmp_path: Path) -> None:
    """Footer, ranges of key groups and single keys agree with each other, by path and by bytes."""
    path = _checkpointed(tmp_path)
    for segment in (open_segment(path), open_segment(path.read_bytes())):
        footer = segment.footer()
        entries = list(segment.entries())
        assert segment.verify()["entries"] == len(entries) == sum(count for _, count in footer["extents"])
        assert sum(state["entries"] for state in footer["states"]) == len(entries)
        assert [entry for entry in entries if 2 <= entry[0] <= 4] == list(segment.entries(2, 4))
        for key_group, state, aux, flags, key, value in entries[::97]:
            assert segment.get(key_group, key, state=state, aux=aux) == [(flags, value)]
            assert native._native().key_group(key, key_groups=8) == key_group
        assert segment.get(3, b"absent") == []


def test_both_readers_agree(tmp_path: Path) -> None:
    """The pure Python reader gives for a native file what the native one gives, and the other way round."""
    path = _checkpointed(tmp_path)
    pure = SegmentReader(DataReader(path.read_bytes(), place=str(path)))
    seen = [
        (extent.key_group, entry.state_id, bool(entry.flags & 4), entry.flags & 3, entry.key, entry.value)
        for extent in pure.extents
        for entry in pure.entries(extent.key_group)
    ]
    assert seen == list(open_segment(path).entries())
    entries = [slim_writer.Entry(group, 1, bytes([group, n]), bytes(200)) for group in range(4) for n in range(100)]
    for lz4, version in ((True, 2), (False, 2), (True, 1), (True, 3)):
        content = slim_writer.segment_file(entries, 9, lz4=lz4, block_bytes=1_000, version=version)
        native_view = open_segment(content)
        ordered = [(entry.key, entry.value) for entry in slim_writer.in_order(entries)]
        assert [entry[4:] for entry in native_view.entries()] == ordered
        assert native_view.footer()["segment"] == 9
        assert native_view.verify()["entries"] == len(entries)
        pure = SegmentReader(DataReader(content, place="memory"))
        assert [entry.key for group in range(4) for entry in pure.entries(group)] == [key for key, _ in ordered]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_golden_files(version: int) -> None:
    """Files that the writers of each version made: both readers give the same entries of both, and find each by its key."""
    folder = Path(__file__).parent / "fixtures"
    content = (folder / f"version-{version}.slim").read_bytes()
    assert content[8] == version
    segment = open_segment(content)
    entries = list(segment.entries())
    assert len(entries) == segment.verify()["entries"] == 1578
    assert entries == list(open_segment((folder / "version-2.slim").read_bytes()).entries())
    pure = SegmentReader(DataReader(content, place="memory"))
    seen = [
        (extent.key_group, entry.state_id, bool(entry.flags & 4), entry.flags & 3, entry.key, entry.value)
        for extent in pure.extents
        for entry in pure.entries(extent.key_group)
    ]
    assert seen == entries
    for key_group, state, aux, flags, key, value in entries[::13]:
        assert (flags, value) in segment.get(key_group, key, state=state, aux=aux)


def test_damaged_files_are_corrupt(tmp_path: Path) -> None:
    """A changed byte is found, with file, block and both checksums; a missing or cut file is an error at restore."""
    path = _checkpointed(tmp_path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(Corrupt, match="checksum") as error:
        open_segment(path).verify()
    assert error.value.context["block"] == "0"
    assert {"file", "stored_checksum", "computed_checksum"} <= error.value.context.keys()
    for content in (damaged, whole[:-1], b""):
        path.write_bytes(content)
        with open_engine(budget_bytes=32 << 20, key_groups=8) as engine, pytest.raises(Corrupt):
            engine.restore([tmp_path])
    path.unlink()
    with open_engine(budget_bytes=32 << 20, key_groups=8) as engine, pytest.raises(NotFound):
        engine.restore([tmp_path])


def test_threads_take_turns(tmp_path: Path) -> None:
    """Several threads write and checkpoint through one engine; nothing is lost."""
    engine = open_engine(budget_bytes=64 << 20)
    failures: list[HeadraceError] = []

    def work(worker: int) -> None:
        try:
            for number in range(2_000):
                engine.put(f"{worker}-{number}".encode(), b"v")
                if number % 500 == 0:
                    engine.checkpoint(tmp_path / "shared")
        except HeadraceError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert engine.count() == 8_000
