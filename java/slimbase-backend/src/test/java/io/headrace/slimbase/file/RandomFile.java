package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** A sorted map of random entries, and the file of it. */
final class RandomFile {
    /** Ordered as a file is. */
    static final class Key implements Comparable<Key> {
        final int keyGroup;
        final int identity;
        final byte[] bytes;
        final long hash;

        Key(int keyGroup, int identity, byte[] bytes) {
            this.keyGroup = keyGroup;
            this.identity = identity;
            this.bytes = bytes;
            long address = Memory.allocate(bytes.length + 1L);
            Memory.copyFromArray(bytes, 0, bytes.length, address);
            this.hash = KeyHash.hash(identity, address, bytes.length);
            Memory.free(address);
        }

        @Override
        public int compareTo(Key other) {
            int order = Integer.compare(keyGroup, other.keyGroup);
            order = order != 0 ? order : Integer.compare(identity, other.identity);
            order = order != 0 ? order : Long.compareUnsigned(hash, other.hash);
            return order != 0 ? order : Arrays.compareUnsigned(bytes, other.bytes);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Key && compareTo((Key) other) == 0;
        }

        @Override
        public int hashCode() {
            return Long.hashCode(hash) + keyGroup;
        }

        @Override
        public String toString() {
            return keyGroup + "/" + identity + "/" + Arrays.toString(bytes);
        }
    }

    /** Flags and value of an entry. */
    static final class Part {
        final int flags;
        final byte[] value;

        Part(int flags, byte[] value) {
            this.flags = flags;
            this.value = value;
        }
    }

    private final Random random;
    private final long segmentNumber;
    final TreeMap<Key, List<Part>> content = new TreeMap<>();

    private RandomFile(long seed, boolean filled) {
        random = new Random(seed);
        segmentNumber = seed;
        if (filled) {
            fill();
        }
    }

    /** Everything that a file can have: tombstones, chains also over block ends, auxiliary records, values larger than a block, equal keys in key groups. */
    RandomFile(long seed) {
        this(seed, true);
    }

    /** Eight-byte keys with 40-byte values, whole. */
    static RandomFile plain(long seed, int keys) {
        RandomFile file = new RandomFile(seed, false);
        for (int i = 0; i < keys; i++) {
            file.content.put(new Key(i % 16, 0, file.bytes(8)), List.of(new Part(0, file.bytes(40))));
        }
        return file;
    }

    private byte[] bytes(int length) {
        byte[] bytes = new byte[length];
        if (random.nextBoolean()) {
            random.nextBytes(bytes);
        } else {
            Arrays.fill(bytes, (byte) random.nextInt(4));
        }
        return bytes;
    }

    private void fill() {
        int keyGroups = 1 + random.nextInt(40);
        int keys = random.nextInt(600);
        for (int i = 0; i < keys; i++) {
            content.put(key(keyGroups), parts());
        }
    }

    private Key key(int keyGroups) {
        byte[] key = random.nextInt(20) == 0 ? bytes(random.nextInt(300)) : ("k" + random.nextInt(800)).getBytes();
        return new Key(random.nextInt(keyGroups) * 7, random.nextInt(5), key);
    }

    private List<Part> parts() {
        List<Part> parts = new ArrayList<>();
        int kind = random.nextInt(10);
        if (kind == 0) {
            parts.add(new Part(1, new byte[0]));
        } else if (kind < 8) {
            parts.add(new Part(0, bytes(length())));
        }
        int chained = kind > 6 ? 1 + random.nextInt(random.nextInt(10) == 0 ? 300 : 4) : 0;
        for (int i = 0; i < chained; i++) {
            parts.add(new Part(2, bytes(random.nextInt(200))));
        }
        return parts;
    }

    private int length() {
        return random.nextInt(60) == 0 ? random.nextInt(50_000) : random.nextInt(120);
    }

    long entryCount() {
        return content.values().stream().mapToInt(List::size).sum();
    }

    List<Key> keys() {
        return new ArrayList<>(content.keySet());
    }

    List<String> entries(Key key) {
        List<String> texts = new ArrayList<>();
        for (Part part : content.get(key)) {
            texts.add(text(key.keyGroup, key.identity, part.flags, key.bytes, part.value));
        }
        return texts;
    }

    /** Keys that are not there. */
    List<Key> absent(int count) {
        List<Key> keys = new ArrayList<>();
        while (keys.size() < count) {
            Key key = new Key(random.nextInt(300), random.nextInt(6), ("absent" + random.nextInt()).getBytes());
            if (!content.containsKey(key)) {
                keys.add(key);
            }
        }
        return keys;
    }

    static String text(int keyGroup, int identity, int flags, byte[] key, byte[] value) {
        return keyGroup + " " + identity + " " + flags + " " + Arrays.toString(key) + " " + Entries.text(value);
    }

    byte[] write() throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        return write(out, new FileBuilder(out, segmentNumber));
    }

    byte[] write(long entriesAtMost) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        return write(out, new FileBuilder(out, segmentNumber, entriesAtMost));
    }

    private byte[] write(ByteArrayOutputStream out, FileBuilder builder) throws IOException {
        long scratch = Memory.allocate(1 << 20);
        for (Map.Entry<Key, List<Part>> entry : content.entrySet()) {
            Key key = entry.getKey();
            Memory.copyFromArray(key.bytes, 0, key.bytes.length, scratch);
            for (Part part : entry.getValue()) {
                Memory.copyFromArray(part.value, 0, part.value.length, scratch + 4096);
                builder.add(key.keyGroup, key.identity, part.flags, scratch, key.bytes.length, scratch + 4096, part.value.length);
            }
        }
        Memory.free(scratch);
        builder.finish();
        return out.toByteArray();
    }

    /** The keys of a file, in its order. */
    static List<Key> keysOf(FileSource source) throws IOException {
        LinkedHashSet<Key> keys = new LinkedHashSet<>();
        try (SegmentReader reader = SegmentReader.open(source)) {
            reader.forEach(
                    0,
                    FileFormat.KEY_GROUP_LIMIT,
                    (keyGroup, identity, flags, key, keyLength, value, valueLength) ->
                            keys.add(new Key(keyGroup, identity, Entries.bytes(key, keyLength))));
        }
        return new ArrayList<>(keys);
    }
}
