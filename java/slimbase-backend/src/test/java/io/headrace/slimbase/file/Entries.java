package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.UnsafeAllocator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** Engines with random content, files of them, and what they hold, for the tests of this package. */
final class Entries {
    static final int FIRST_KEY_GROUP = 3;
    static final int KEY_GROUPS = 9;

    private final long scratch = Memory.allocate(1 << 20);
    private final Random random;
    final SlimEngine engine = newEngine();
    /** Key group, identity and key to value, as text. */
    final TreeMap<String, String> model = new TreeMap<>();

    Entries(long seed) {
        random = new Random(seed);
    }

    static SlimEngine newEngine() {
        return new SlimEngine(new MemoryBudget(1L << 30), new UnsafeAllocator(), FIRST_KEY_GROUP, KEY_GROUPS, id -> "s" + id);
    }

    /** Random puts, removals and list appends over few keys, so that versions meet. */
    void change(int operations) {
        for (int i = 0; i < operations; i++) {
            int keyGroup = FIRST_KEY_GROUP + random.nextInt(KEY_GROUPS - 1);
            int kind = random.nextInt(10);
            boolean isList = kind < 3;
            int identity = isList ? 6 : random.nextInt(4);
            byte[] key = ("key" + random.nextInt(400)).getBytes();
            Memory.copyFromArray(key, 0, key.length, scratch);
            String name = name(keyGroup, identity, key);
            if (kind == 9) {
                engine.remove(keyGroup, identity, scratch, key.length);
                model.remove(name);
            } else if (isList) {
                byte[] element = value(random.nextInt(30));
                Memory.copyFromArray(element, 0, element.length, scratch + 4096);
                engine.appendToList(keyGroup, identity, scratch, key.length, scratch + 4096, element.length);
                model.merge(name, text(element), (a, b) -> a + "," + b);
            } else {
                byte[] value = value(random.nextInt(200) == 0 ? 70_000 : random.nextInt(60));
                Memory.copyFromArray(value, 0, value.length, scratch + 4096);
                engine.put(keyGroup, identity, scratch, key.length, scratch + 4096, value.length);
                model.put(name, text(value));
            }
        }
    }

    private byte[] value(int length) {
        byte[] value = new byte[length];
        random.nextBytes(value);
        return value;
    }

    static String text(byte[] bytes) {
        return bytes.length > 100 ? bytes.length + "#" + Arrays.hashCode(bytes) : Arrays.toString(bytes);
    }

    static String name(int keyGroup, int identity, byte[] key) {
        return keyGroup + "/" + identity + "/" + new String(key);
    }

    /** One file per sealed segment. */
    List<byte[]> files() throws IOException {
        List<byte[]> files = new ArrayList<>();
        try (io.headrace.slimbase.engine.SnapshotView view = engine.seal()) {
            for (SegmentView segment : view.segments()) {
                files.add(pack(segment));
            }
        }
        return files;
    }

    static byte[] pack(SegmentView segment) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        FileStatistics statistics = SegmentWriter.of(RecordRuns.of(segment), null).write(segment.number(), out);
        if (statistics.bytes() != out.size()) {
            throw new IOException("statistics say " + statistics.bytes() + ", file has " + out.size());
        }
        return out.toByteArray();
    }

    /** Applies files to a fresh engine and reads it out. */
    static Map<String, String> restore(List<byte[]> files, int first, int last) throws Exception {
        try (SlimEngine restored = newEngine()) {
            for (byte[] file : files) {
                restored.beginRestoredSegment();
                try (SegmentReader reader = SegmentReader.open(FileSources.bytes("f", file))) {
                    reader.forEach(first, last, restored::restoreEntry);
                }
                restored.endRestoredSegment();
            }
            return content(restored);
        }
    }

    /** What an engine holds, lists joined. */
    static Map<String, String> content(SlimEngine engine) throws Exception {
        TreeMap<String, String> content = new TreeMap<>();
        for (int keyGroup = FIRST_KEY_GROUP; keyGroup < FIRST_KEY_GROUP + KEY_GROUPS; keyGroup++) {
            int group = keyGroup;
            engine.forEachRecord(
                    keyGroup,
                    record -> {
                        int identity = io.headrace.slimbase.engine.Record.identity(record);
                        byte[] key =
                                bytes(
                                        io.headrace.slimbase.engine.Record.keyAddress(record),
                                        io.headrace.slimbase.engine.Record.keyLength(record));
                        content.put(name(group, identity, key), identity == 6 ? list(engine, record) : value(record));
                    });
        }
        return content;
    }

    private static String value(long record) {
        return text(
                bytes(
                        io.headrace.slimbase.engine.Record.valueAddress(record),
                        io.headrace.slimbase.engine.Record.valueLength(record)));
    }

    /** Elements are random bytes, so they are told apart by what the model knows: the joined bytes are compared. */
    private static String list(SlimEngine engine, long record) {
        long[] blocks = new long[1000];
        int count = engine.chain(record, blocks);
        ByteArrayOutputStream joined = new ByteArrayOutputStream();
        for (int i = count - 1; i >= 0; i--) {
            long block = io.headrace.slimbase.engine.Record.valueAddress(blocks[i]);
            byte[] used = bytes(block + 8, Memory.getInt(block));
            joined.write(used, 0, used.length);
            if (i > 0) {
                joined.write(',');
            }
        }
        return "list" + joined.size() + "#" + Arrays.hashCode(joined.toByteArray());
    }

    static byte[] bytes(long address, int length) {
        byte[] bytes = new byte[length];
        Memory.copyToArray(address, bytes, 0, length);
        return bytes;
    }

    /** Every entry of a file as text. */
    static List<String> dump(FileSource source) throws IOException {
        List<String> entries = new ArrayList<>();
        try (SegmentReader reader = SegmentReader.open(source)) {
            reader.forEach(
                    0,
                    (1 << 15) - 1,
                    (keyGroup, identity, flags, key, keyLength, value, valueLength) ->
                            entries.add(
                                    keyGroup
                                            + " " + identity
                                            + " " + flags
                                            + " " + Arrays.toString(bytes(key, keyLength))
                                            + " " + text(bytes(value, valueLength))));
        }
        return entries;
    }
}
