"""The embedded engine when things go wrong: killed processes, full disks, damaged files, calls that make no sense; and threads beside it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.core.errors import Corrupt, Internal, Invalid, NotFound, Unavailable, Unsupported
from headrace.state import engine as native
from headrace.state.engine import open_engine, open_segment

if TYPE_CHECKING:
    from headrace.state._slimbase import Engine

pytestmark = pytest.mark.skipif(not native.is_available(), reason="the native state engine was not built")

BUDGET_BYTES = 64 << 20
KEY_GROUPS = 16
OPERATIONS = 300  # between two checkpoints
Model = dict[bytes, bytes]


def new_engine() -> Engine:
    """An empty engine as all tests here want it."""
    return open_engine(budget_bytes=BUDGET_BYTES, key_groups=KEY_GROUPS)


def restored(folder: Path) -> Engine:
    """An engine with the state of a checkpoint."""
    engine = new_engine()
    engine.restore([folder])
    return engine


def operations(seed: int, step: int) -> Iterator[tuple[bytes, bytes | None]]:
    """What happens between checkpoint `step` and the next one: puts, and deletes (None), of few enough keys to meet again."""
    dice = random.Random(f"{seed}/{step}")
    for _ in range(OPERATIONS):
        key = dice.randrange(500).to_bytes(dice.choice([2, 9]), "big")
        yield key, None if dice.random() < 0.3 else dice.randbytes(dice.choice([0, 8, 60, 2_000]))


def model_after(seed: int, steps: int) -> Model:
    """What a dict holds after so many steps."""
    model: Model = {}
    for step in range(steps):
        for key, value in operations(seed, step):
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
    return model


WRITER = """
import sys
from pathlib import Path
from tests.unit.state.test_native_faults import new_engine, operations, restored
folder, seed, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
engine = restored(folder) if step else new_engine()
while True:
    for key, value in operations(seed, step):
        engine.delete(key) if value is None else engine.put(key, value)
    engine.checkpoint(folder)
    step += 1
    print(step, flush=True)
"""


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_process_leaves_its_last_checkpoint(seed: int, tmp_path: Path) -> None:
    """Killed at any moment, the folder restores to the last checkpoint that was confirmed, or the one that was under way."""
    dice, step = random.Random(seed), 0
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "state"), str(seed), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
            assert process.stdout is not None
            for _ in range(dice.randrange(1, 6)):
                step = int(process.stdout.readline())
            for _ in range(dice.randrange(20_000)):
                pass  # to be killed elsewhere than just after a checkpoint
            process.send_signal(signal.SIGKILL)
            step = max([step, *map(int, process.stdout.read().split())])
        with restored(tmp_path / "state") as engine:
            found = dict(engine.iterate())
            assert engine.count() == len(found)
        confirmed, under_way = model_after(seed, step), model_after(seed, step + 1)
        assert found in (confirmed, under_way)
        step += found != confirmed


def long_calls(folder: Path) -> dict[str, Callable[[Engine], object]]:
    """The calls that let other Python threads run, each long enough to see it."""
    items = [(number.to_bytes(4, "big"), bytes(16)) for number in range(60_000)]
    with new_engine() as engine:
        engine.put_many(items)
        engine.checkpoint(folder / "before")
    keys = [key for key, _ in items]

    def restore(_: Engine) -> None:
        restored(folder / "before").close()

    def checkpoint(engine: Engine) -> None:
        engine.put_many(items)
        engine.checkpoint(folder / "again")

    return {
        "put_many": lambda engine: engine.put_many(items),
        "get_many": lambda engine: engine.get_many(keys),
        "checkpoint": checkpoint,
        "restore": restore,
    }


@pytest.mark.parametrize("name", ["put_many", "get_many", "checkpoint", "restore"])
def test_long_calls_overlap_with_other_threads(name: str, tmp_path: Path) -> None:
    """A thread that only counts gets on during long calls, far more than in as many empty ones: the interpreter's lock is free.

    Counts are compared, not times. With the lock held both are a few turns between the calls.
    """
    call, counted, ended = long_calls(tmp_path)[name], [0], threading.Event()

    def count() -> None:
        while not ended.is_set():
            counted[0] += 1

    def counted_during(work: Callable[[Engine], object], engine: Engine) -> int:
        total = 0
        for _ in range(10):
            before = counted[0]
            work(engine)
            total += counted[0] - before
        return total

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # turns between the calls are short
    thread = threading.Thread(target=count)
    try:
        with new_engine() as engine:
            thread.start()
            during_empty = counted_during(lambda engine: engine.count(), engine)
            during_long = counted_during(call, engine)
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        thread.join()
    assert during_long > 20 * max(during_empty, 100)


CALLS: dict[str, Callable[[Engine], object]] = {
    "put": lambda engine: engine.put(b"k", b"v"),
    "put_many": lambda engine: engine.put_many([(b"k", b"v")]),
    "get": lambda engine: engine.get(b"k"),
    "get_many": lambda engine: engine.get_many([b"k"]),
    "delete": lambda engine: engine.delete(b"k"),
    "append": lambda engine: engine.append(b"k", b"v"),
    "get_list": lambda engine: engine.get_list(b"k"),
    "iterate": lambda engine: engine.iterate(),
    "count": lambda engine: engine.count(),
    "statistics": lambda engine: engine.statistics(),
    "checkpoint": lambda engine: engine.checkpoint("never"),
    "restore": lambda engine: engine.restore(["never"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_engine_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is `Invalid`, and names its operation; nothing is made on disk."""
    monkeypatch.chdir(tmp_path)
    engine = new_engine()
    engine.close()
    with pytest.raises(Invalid, match="closed") as raised:
        CALLS[name](engine)
    assert raised.value.operation == f"engine.{name}"
    assert list(tmp_path.iterdir()) == []


def test_an_iteration_ends_with_its_engine() -> None:
    """Rows of a closed engine are not read from freed memory."""
    engine = new_engine()
    engine.put_many([(bytes([number]), b"v") for number in range(200)])
    rows = engine.iterate()
    next(rows)
    engine.close()
    with pytest.raises(Invalid, match="closed"):
        list(rows)


def test_after_a_panic_an_engine_is_refused() -> None:
    """It may be half-changed: the panic is `Internal`, and so is every later call."""
    engine = new_engine()
    engine.put(b"k", b"v")
    with pytest.raises(Internal, match="panicked"):
        engine.panic_for_test()
    with pytest.raises(Internal, match="left by a panic"):
        engine.get(b"k")
    engine.close()


WRONG_TYPES: list[Callable[[Engine], object]] = [
    lambda engine: engine.put("k", b"v"),  # type: ignore[arg-type]
    lambda engine: engine.put(b"k", None),  # type: ignore[arg-type]
    lambda engine: engine.put_many([(b"k", "v")]),  # type: ignore[list-item]
    lambda engine: engine.get_many(["k"]),  # type: ignore[list-item]
    lambda engine: engine.get(b"k", state="0"),  # type: ignore[arg-type]
    lambda engine: engine.checkpoint(5),  # type: ignore[arg-type]
    lambda engine: engine.restore("folder"),
]
OUT_OF_RANGE: list[Callable[[Engine], object]] = [
    lambda engine: engine.put(b"k", b"v", state=-1),
    lambda engine: engine.get(b"k", state=1024),
    lambda engine: engine.count(state=1 << 40),
    lambda engine: engine.delete(b"k", key_group=-1),
    lambda engine: engine.get(b"k", key_group=KEY_GROUPS),
    lambda engine: list(engine.iterate(state=5_000)),
    lambda _: open_engine(budget_bytes=-1),
    lambda _: open_engine(budget_bytes=1 << 70),
    lambda _: open_engine(budget_bytes=1 << 20, key_groups=40_000),
    lambda _: open_engine(budget_bytes=1 << 20, key_groups=8, first_key_group=4, key_group_count=5),
    lambda _: open_engine(budget_bytes=1 << 20, key_groups=8, first_key_group=9),
]


@pytest.mark.parametrize(
    ("calls", "error"), [(WRONG_TYPES, TypeError), (OUT_OF_RANGE, Invalid)], ids=["types", "ranges"]
)
def test_calls_that_make_no_sense(calls: list[Callable[[Engine], object]], error: type[Exception]) -> None:
    """Another type is Python's `TypeError`, a number out of range `Invalid`; the engine is as before."""
    with new_engine() as engine:
        engine.put(b"k", b"v")
        for call in calls:
            with pytest.raises(error):
                call(engine)
        assert dict(engine.iterate()) == {b"k": b"v"}


def test_paths_that_are_no_checkpoint(tmp_path: Path) -> None:
    """A missing folder or manifest is `NotFound`, a file in the place of a folder `Invalid`; missing parents are made."""
    file = tmp_path / "file"
    file.touch()
    with new_engine() as engine:
        engine.put(b"k", b"v")
        for path in (file, file / "below"):
            with pytest.raises(Invalid, match=r"path=`|file"):
                engine.checkpoint(path)
        engine.checkpoint(tmp_path / "a" / "b")
    for path, error in ((tmp_path / "gone", NotFound), (tmp_path, NotFound), (file, Invalid)):
        with new_engine() as engine, pytest.raises(error):
            engine.restore([path])
    with pytest.raises(NotFound):
        open_segment(tmp_path / "gone")
    with pytest.raises(Invalid):
        open_segment(tmp_path)
    assert dict(restored(tmp_path / "a" / "b").iterate()) == {b"k": b"v"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_only_the_new_checkpoint(small_disk: Path, tmp_path: Path) -> None:
    """`Unavailable` with the path; the one before still restores, the engine goes on, and another disk takes all of it."""
    with new_engine() as engine:
        engine.put(b"k", b"v")
        engine.checkpoint(small_disk / "state")
        engine.put_many([(number.to_bytes(4, "big"), random.Random(number).randbytes(40)) for number in range(20_000)])
        for _ in range(2):
            with pytest.raises(Unavailable, match="No space left") as raised:
                engine.checkpoint(small_disk / "state")
            assert raised.value.retryable
            assert str(small_disk) in raised.value.context["path"]
        assert dict(restored(small_disk / "state").iterate()) == {b"k": b"v"}
        assert engine.count() == 20_001
        engine.checkpoint(tmp_path / "elsewhere")
        assert dict(restored(tmp_path / "elsewhere").iterate()) == dict(engine.iterate())


def test_any_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """In every byte of the manifest, and all over the files: `Corrupt` (of a version `Unsupported`), or the same content."""
    dice, folder = random.Random(3), tmp_path / "state"
    model: dict[Any, Any] = {}
    with new_engine() as engine:
        for step in range(2):
            for key, value in operations(3, step):
                if value is None:
                    engine.delete(key)
                    model.pop(key, None)
                else:
                    engine.put(key, value)
                    model[key] = value
            engine.checkpoint(folder)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        ends = {*range(40), *range(len(whole) - 60, len(whole))}
        places = (
            range(len(whole)) if len(whole) < 300 else sorted(ends | {dice.randrange(len(whole)) for _ in range(60)})
        )
        refused = 0
        for place in places:
            data = bytearray(whole)
            data[place] ^= 1 << dice.randrange(8)
            file.write_bytes(data)
            try:
                with restored(folder) as engine:
                    assert dict(engine.iterate()) == model, (file.name, place)
            except (Corrupt, Unsupported):  # a flipped version looks newer
                refused += 1
        file.write_bytes(whole)
        assert refused > len(places) // 2
