package io.headrace.slimbase.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** Files of one state, oldest first, as epochs would write them, and the map that they give when they are applied in order. */
final class MergeModel {
    /** The identity whose values are lists. */
    static final int LIST = 6;

    final List<RandomFile> layers = new ArrayList<>();
    private final Random random;

    MergeModel(long seed, int count) {
        random = new Random(seed);
        for (int i = 0; i < count; i++) {
            layers.add(layer(seed * 100 + i));
        }
    }

    private RandomFile layer(long seed) {
        RandomFile file = RandomFile.plain(seed, 0);
        int keys = 20 + random.nextInt(500);
        for (int i = 0; i < keys; i++) {
            int identity = random.nextInt(3) == 0 ? LIST : random.nextInt(4);
            byte[] key = ("key" + random.nextInt(200)).getBytes();
            file.content.put(new RandomFile.Key(random.nextInt(12) * 7, identity, key), identity == LIST ? list() : value());
        }
        return file;
    }

    private List<RandomFile.Part> value() {
        if (random.nextInt(5) == 0) {
            return List.of(new RandomFile.Part(1, new byte[0]));
        }
        byte[] value = new byte[random.nextInt(80) == 0 ? random.nextInt(30_000) : random.nextInt(50)];
        random.nextBytes(value);
        return List.of(new RandomFile.Part(0, value));
    }

    private List<RandomFile.Part> list() {
        List<RandomFile.Part> parts = new ArrayList<>();
        int begin = random.nextInt(4);
        if (begin == 0) {
            parts.add(new RandomFile.Part(1, new byte[0]));
        } else if (begin == 1) {
            parts.add(new RandomFile.Part(0, block()));
        }
        int pieces = random.nextInt(4) + (begin > 1 ? 1 : 0);
        for (int i = 0; i < pieces; i++) {
            parts.add(new RandomFile.Part(2, block()));
        }
        return parts;
    }

    /** A list block of single letters, with room at its end. */
    private byte[] block() {
        int count = 1 + random.nextInt(5);
        StringBuilder elements = new StringBuilder();
        for (int i = 0; i < count; i++) {
            elements.append(i == 0 ? "" : ",").append((char) ('a' + random.nextInt(26)));
        }
        byte[] used = elements.toString().getBytes();
        ByteBuffer block = ByteBuffer.allocate(8 + used.length + random.nextInt(9)).order(ByteOrder.LITTLE_ENDIAN);
        block.putInt(used.length).putInt(count).put(used);
        return block.array();
    }

    /** The map that files give, applied in order: lists as their elements. */
    static Map<RandomFile.Key, String> apply(List<byte[]> files) throws IOException {
        TreeMap<RandomFile.Key, String> map = new TreeMap<>();
        for (byte[] file : files) {
            try (SegmentReader reader = SegmentReader.open(FileSources.bytes("applied", file))) {
                reader.forEach(
                        0,
                        FileFormat.KEY_GROUP_LIMIT,
                        (keyGroup, identity, flags, key, keyLength, value, valueLength) -> {
                            byte[] bytes = Entries.bytes(value, valueLength);
                            RandomFile.Key name = new RandomFile.Key(keyGroup, identity, Entries.bytes(key, keyLength));
                            if ((flags & 1) != 0) {
                                map.remove(name);
                            } else if ((flags & 2) != 0) {
                                map.merge(name, elements(bytes), (a, b) -> a + "," + b);
                            } else {
                                map.put(name, identity == LIST ? elements(bytes) : Arrays.toString(bytes));
                            }
                        });
            }
        }
        return map;
    }

    private static String elements(byte[] block) {
        ByteBuffer fields = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
        int used = fields.getInt();
        int count = fields.getInt();
        String elements = new String(block, 8, used);
        if (elements.split(",").length != count) {
            throw new IllegalStateException(count + " elements: " + elements);
        }
        return elements;
    }
}
