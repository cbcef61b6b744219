"""Write SlimBase checkpoints in Python: an implementation of docs/concepts/slimbase-format.md apart from the reader that it tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cramjam
import google_crc32c

BLOCK_RAW_BYTES = 8 * 1024
ALWAYS = (1 << 63) - 1
CONTINUED = 1 << 15
SALTS = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)
M64 = (1 << 64) - 1
TOMBSTONE, CHAINED, AUX = 1, 2, 4
KINDS = {"value": 0, "list": 1, "map": 2, "reducing": 3, "aggregating": 4, "queue": 5}
BASE = "org.apache.flink.api.common.typeutils.base."


@dataclass(frozen=True)
class Entry:
    """One entry of a file, in the order in which it is to be written within its key group."""

    key_group: int
    state_id: int
    key: bytes
    value: bytes = b""
    flags: int = 0


@dataclass(frozen=True)
class Named:
    """A state of the checkpoint: its kind and its serializer snapshots."""

    name: str
    state_id: int
    kind: str
    value: bytes
    namespace: bytes = b""
    ttl_ms: int = 0
    user_key: bytes = b""  # of asynchronous map states, whose snapshot has it apart
    asynchronous: bool = False


@dataclass
class Checkpoint:
    """What one subtask's checkpoint holds."""

    states: Sequence[Named]
    files: Sequence[Sequence[Entry]]
    timers: Sequence[Entry] = ()
    key: bytes = b""
    first_key_group: int = 0
    key_groups: int = 4
    ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    order: Sequence[int] | None = None
    manifest_version: int = 2


def utf(text: str) -> bytes:
    """A Java UTF string."""
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def varint(value: int) -> bytes:
    """Seven bits a byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def simple(name: str, package: str = BASE) -> bytes:
    """A snapshot of a serializer without configuration, without the outer version."""
    return utf(f"{package}{name}Serializer${name}SerializerSnapshot") + struct.pack(">i", 3)


def composite(class_name: str, parts: Sequence[bytes], *, outer_version: int = 1, outer: bytes = b"") -> bytes:
    """A snapshot of a serializer of serializers."""
    head = utf(class_name) + struct.pack(">iii", 3, 911108, outer_version) + outer
    return head + struct.pack(">iii", 1333245, 1, len(parts)) + b"".join(parts)


LONG, INT, STRING = simple("Long"), simple("Int"), simple("String")
VOID = simple("VoidNamespace", "org.apache.flink.runtime.state.")
WINDOW = utf(
    "org.apache.flink.streaming.api.windowing.windows.TimeWindow$Serializer$TimeWindowSerializerSnapshot"
) + struct.pack(">i", 3)


def list_of(element: bytes) -> bytes:
    """A ListSerializer's snapshot."""
    return composite(BASE + "ListSerializerSnapshot", [element])


def map_of(key: bytes, value: bytes) -> bytes:
    """A MapSerializer's snapshot."""
    return composite(BASE + "MapSerializerSnapshot", [key, value])


def with_ttl(value: bytes) -> bytes:
    """A TtlSerializer's snapshot."""
    name = "org.apache.flink.runtime.state.ttl.TtlStateFactory$TtlSerializer$TtlSerializerSnapshot"
    return composite(name, [LONG, value], outer_version=2)


def timers_of(key: bytes, namespace: bytes) -> bytes:
    """A TimerSerializer's snapshot."""
    return composite(
        "org.apache.flink.streaming.api.operators.TimerSerializerSnapshot", [key, namespace], outer_version=2
    )


def head(checkpoint: Checkpoint) -> bytes:
    """Flink's KeyedBackendSerializationProxy."""
    out = (
        struct.pack(">i?", 6, False) + struct.pack(">i", 2) + checkpoint.key + struct.pack(">h", len(checkpoint.states))
    )
    for state in checkpoint.states:
        out += utf(state.name) + struct.pack(">i", 3 if state.kind == "queue" else 4 if state.asynchronous else 0)
        if state.kind == "queue":
            roles = {"VALUE_SERIALIZER": state.value}
            out += struct.pack(">i", 0)
        else:
            roles = {"NAMESPACE_SERIALIZER": state.namespace or VOID, "VALUE_SERIALIZER": state.value}
            out += struct.pack(">i", 1) + utf("KEYED_STATE_TYPE") + utf(state.kind.upper())
            if state.user_key:
                roles["USER_KEY_SERIALIZER"] = state.user_key
        out += struct.pack(">i", len(roles))
        for role, snapshot in roles.items():
            out += utf(role) + struct.pack(">i", 2) + snapshot
    return out


def entry_bytes(entry: Entry) -> bytes:
    """An entry as it stands in a block."""
    lengths = varint(entry.state_id) + varint(len(entry.key)) + varint(len(entry.value))
    return bytes([entry.flags]) + lengths + entry.key + entry.value


def key_hash(identity: int, key: bytes) -> int:
    """The page's hash of key bytes."""
    h = (identity * 0x9E3779B97F4A7C15 ^ len(key) * 0xC2B2AE3D27D4EB4F) & M64
    for at in range(0, len(key), 8):
        h = ((h ^ int.from_bytes(key[at : at + 8], "little")) * 0x9E3779B97F4A7C15) & M64
        h ^= h >> 29
    h = ((h ^ h >> 32) * 0xD6E8FEB86659FD93) & M64
    return h ^ h >> 29


def key_filter(hashes: Sequence[int]) -> bytes:
    """A split-block Bloom filter of 12 bits a key."""
    blocks = -(-len(hashes) * 12 // 256)
    words = [0] * (8 * blocks)
    for h in hashes:
        block = ((h >> 32) * blocks) >> 32
        for word, salt in enumerate(SALTS):
            words[8 * block + word] |= 1 << ((h * salt & 0xFFFFFFFF) >> 27)
    return struct.pack(f"<{len(words)}I", *words)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in the file's order; those of one key stay as they are."""

    def place(entry: Entry) -> tuple[int, int, int, bytes]:
        identity = entry.state_id * 2 + int(bool(entry.flags & AUX))
        return entry.key_group, identity, key_hash(identity, entry.key), entry.key

    return sorted(entries, key=place)


def segment_file(
    entries: Iterable[Entry], number: int, *, lz4: bool = True, block_bytes: int = BLOCK_RAW_BYTES, version: int = 2
) -> bytes:
    """A `.slim` file of the entries, which are put in order."""
    blocks: list[bytearray] = []
    firsts: list[tuple[int, int, int]] = []
    last: tuple[int, int, int] | None = None
    hashes: dict[int, None] = {}
    extents: list[list[int]] = []
    counts: dict[tuple[int, int], list[int]] = {}
    for entry in in_order(entries):
        data = entry_bytes(entry)
        identity = entry.state_id * 2 + int(bool(entry.flags & AUX))
        place = key_hash(identity, entry.key), entry.key_group, identity
        if not blocks or len(blocks[-1]) + len(data) > block_bytes:
            blocks.append(bytearray())
            firsts.append((place[0], place[1], identity | (CONTINUED if place == last else 0)))
        last = place
        hashes[place[0]] = None
        if not extents or extents[-1][0] != entry.key_group:
            extents.append([entry.key_group, len(blocks) - 1, len(blocks[-1]), 0])
        extents[-1][3] += 1
        blocks[-1] += data
        count = counts.setdefault((entry.state_id, int(bool(entry.flags & AUX))), [0, 0, 0])
        count[0] += int(bool(entry.flags & TOMBSTONE))
        count[1] += 1
        count[2] += len(entry.key) + len(entry.value)
    out, offsets = bytearray(b"SLIMBASE" + struct.pack("<HHI", version, 0, 0)), []
    for block in blocks:
        offsets.append(len(out))
        out += block_bytes_of(bytes(block), lz4=lz4)
    filter_ = key_filter(list(hashes)) if version > 1 else b""
    out += filter_
    footer = struct.pack("<I", len(offsets)) + b"".join(
        struct.pack("<Q", offset) + (struct.pack("<QHH", *first) if version > 1 else b"")
        for offset, first in zip(offsets, firsts, strict=True)
    )
    footer += struct.pack("<I", len(extents)) + b"".join(
        struct.pack("<HHIII", group, 0, *rest) for group, *rest in extents
    )
    footer += struct.pack("<I", len(counts)) + b"".join(
        struct.pack("<HHIQQ", *id_, *n) + (struct.pack("<q", ALWAYS) if version > 2 else b"")
        for id_, n in sorted(counts.items())
    )
    if version > 1:
        footer += struct.pack("<III", int(bool(filter_)), len(filter_), google_crc32c.value(filter_))
    footer += struct.pack("<Q", number)
    trailer = struct.pack("<QIIII", len(out), len(footer), google_crc32c.value(footer), version, len(filter_))
    trailer += b"SLIMFOOT"
    return bytes(out + footer + trailer)


def block_bytes_of(raw: bytes, *, lz4: bool) -> bytes:
    """A block with its head and checksum."""
    stored = bytes(cramjam.lz4.compress_block(raw, store_size=False)) if lz4 else raw
    start = struct.pack("<IIB3x", len(raw), len(stored), 1 if lz4 else 0)
    return start + struct.pack("<I", google_crc32c.extend(google_crc32c.value(start), stored)) + stored


def meta_stream(checkpoint: Checkpoint, sizes: Sequence[int]) -> bytes:
    """Head, manifest, checksum."""
    version = checkpoint.manifest_version
    out = head(checkpoint) + struct.pack(">iii", 0x534C4D4D, version, len(checkpoint.states))
    for state in checkpoint.states:
        out += utf(state.name) + struct.pack(">ibq", state.state_id, KINDS[state.kind], state.ttl_ms)
    order = checkpoint.order if checkpoint.order is not None else range(len(sizes))
    out += struct.pack(">i", len(order))
    everything = (0, 32767)
    for index in order:
        out += utf(f"backend-{index}.slim") + struct.pack(">qq", index, sizes[index])
        out += struct.pack(">q", 4_096) if version > 1 else b""
        out += struct.pack(">ii", *checkpoint.ranges.get(index, everything))
    return out + struct.pack(">I", google_crc32c.value(out))


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, block_bytes: int = BLOCK_RAW_BYTES) -> Path:
    """Write `chk-7` below a folder: `_metadata`, meta stream and files in `shared`; gives `chk-7`."""
    chk, shared = folder / "chk-7", folder / "shared"
    chk.mkdir(parents=True)
    shared.mkdir()
    named = []
    for index, entries in enumerate(checkpoint.files):
        data = segment_file(entries, index, lz4=index % 2 == 0, block_bytes=block_bytes)
        (shared / f"uuid-{index}").write_bytes(data)
        named.append(utf(f"backend-{index}.slim") + file_handle(f"file:/gone/shared/uuid-{index}", len(data)))
    private = b""
    if checkpoint.timers:
        data = segment_file(checkpoint.timers, 0)
        (chk / "uuid-timers").write_bytes(data)
        private = utf("timers") + relative_handle("uuid-timers", len(data))
    sizes = [(shared / f"uuid-{index}").stat().st_size for index in range(len(checkpoint.files))]
    meta = meta_stream(checkpoint, sizes)
    (chk / "uuid-meta").write_bytes(meta)
    handle = b"\x0b" + struct.pack(">q", 7) + utf("5f3a6f0e-1111-4222-8333-444455556666")
    handle += struct.pack(">iiq", checkpoint.first_key_group, checkpoint.key_groups, 0) + relative_handle(
        "uuid-meta", len(meta)
    )
    handle += struct.pack(">i", len(named)) + b"".join(named)
    handle += struct.pack(">i", 1 if private else 0) + private + utf("handle-id")
    (chk / "_metadata").write_bytes(metadata(handle, checkpoint.key_groups))
    return chk


def merge_files(chk: Path, checkpoint: Checkpoint) -> None:
    """Put the files of a written checkpoint into one, as file merging does; `_metadata` then says where each is in it."""
    folder = chk.parent / "shared" / "job_1_op_2"
    folder.mkdir()
    metadata_file, merged = chk / "_metadata", b"head"
    content = metadata_file.read_bytes()
    for index in range(len(checkpoint.files)):
        file = chk.parent / "shared" / f"uuid-{index}"
        data = file.read_bytes()
        before = file_handle(f"file:/gone/shared/uuid-{index}", len(data))
        assert before in content
        after = (
            b"\x0f"
            + struct.pack(">qqi", len(merged), len(data), 0)
            + utf("file:/gone/shared/job_1_op_2/merged")
            + utf("id")
        )
        content = content.replace(before, after)
        merged += data
        file.unlink()
    (folder / "merged").write_bytes(merged)
    metadata_file.write_bytes(content)


def file_handle(path: str, size: int) -> bytes:
    """A FileStateHandle."""
    return b"\x02" + struct.pack(">q", size) + utf(path)


def relative_handle(path: str, size: int) -> bytes:
    """A RelativeFileStateHandle."""
    return b"\x06" + utf(path) + struct.pack(">q", size)


def metadata(keyed_handle: bytes, max_parallelism: int, *, name: str = "Count", uid: str = "count") -> bytes:
    """`_metadata` of version 6 with one operator of one subtask; without properties."""
    out = struct.pack(">iiqii", 0x4960672D, 6, 7, 0, 1) + utf(name) + utf(uid) + bytes(range(16))
    out += struct.pack(">ii", 1, max_parallelism) + b"\x00" + struct.pack(">i", 1)
    return out + struct.pack(">iii", 0, 0, 0) + keyed_handle + b"\x00" + struct.pack(">ii", 0, 0)
