package io.headrace.slimbase.engine;

import java.io.OutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;

/** Files as maps on the heap, for tests of the engine alone: some done at once, some later, with filters that say maybe too often. */
final class MapColdStore implements ColdStore {
    /** One piece of a key's value. */
    static final class Piece {
        final int flags;
        final byte[] value;

        Piece(int flags, byte[] value) {
            this.flags = flags;
            this.value = value;
        }
    }

    /** A key as files order them. */
    static final class FileKey implements Comparable<FileKey> {
        final int keyGroup;
        final int identity;
        final long hash;
        final byte[] bytes;

        FileKey(int keyGroup, int identity, long hash, byte[] bytes) {
            this.keyGroup = keyGroup;
            this.identity = identity;
            this.hash = hash;
            this.bytes = bytes;
        }

        @Override
        public int compareTo(FileKey other) {
            int order = Integer.compare(keyGroup, other.keyGroup);
            order = order != 0 ? order : Integer.compare(identity, other.identity);
            order = order != 0 ? order : Long.compareUnsigned(hash, other.hash);
            return order != 0 ? order : Arrays.compareUnsigned(bytes, other.bytes);
        }
    }

    /** A file in memory. */
    static final class MapColdFile implements ColdFile {
        final TreeMap<FileKey, List<Piece>> entries;
        private final long number;
        private final Set<Long> filter = new HashSet<>();
        private final long bytes;
        private final long tombstoneBytes;
        private Object tag;
        private final AtomicInteger readers = new AtomicInteger();
        boolean closed;

        MapColdFile(long number, TreeMap<FileKey, List<Piece>> entries) {
            this.number = number;
            this.entries = entries;
            entries.keySet().forEach(key -> filter.add(key.hash & 0x3FF));
            bytes = entries.values().stream().flatMap(List::stream).mapToLong(piece -> piece.value.length + 30).sum();
            tombstoneBytes = 30 * entries.values().stream().flatMap(List::stream).filter(piece -> piece.flags == 1).count();
        }

        @Override
        public long number() {
            return number;
        }

        @Override
        public long storedNumber() {
            return number;
        }

        @Override
        public void writeTo(OutputStream out) {
            throw new UnsupportedOperationException("tests of the engine copy nothing");
        }

        @Override
        public long bytes() {
            return bytes;
        }

        @Override
        public int meanEntryBytes(int identity) {
            return (int) (bytes() / Math.max(1, entries.size()));
        }

        @Override
        public long tombstoneBytes() {
            return tombstoneBytes;
        }

        @Override
        public long memoryBytes() {
            return 2L * entries.size();
        }

        @Override
        public int firstKeyGroup() {
            return entries.isEmpty() ? 0 : entries.firstKey().keyGroup;
        }

        @Override
        public int lastKeyGroup() {
            return entries.isEmpty() ? -1 : entries.lastKey().keyGroup;
        }

        @Override
        public boolean mayContain(long hash) {
            return filter.contains(hash & 0x3FF);
        }

        @Override
        public int find(int keyGroup, int identity, long hash, long key, int keyLength, PieceVisitor visitor) {
            if (closed) {
                throw new IllegalStateException("file is closed");
            }
            byte[] bytes = new byte[keyLength];
            Memory.copyToArray(key, bytes, 0, keyLength);
            List<Piece> pieces = entries.getOrDefault(new FileKey(keyGroup, identity, hash, bytes), List.of());
            for (Piece piece : pieces) {
                long at = load(piece.value);
                visitor.piece(piece.flags, at, piece.value.length);
                Memory.free(at);
            }
            return pieces.size();
        }

        @Override
        public void willNeed(int keyGroup, int identity, long hash) {}

        @Override
        public Cursor cursor(int keyGroup) {
            List<Map.Entry<FileKey, Piece>> all = new ArrayList<>();
            entries.forEach((key, pieces) -> {
                if (key.keyGroup == keyGroup) {
                    pieces.forEach(piece -> all.add(Map.entry(key, piece)));
                }
            });
            return new ListCursor(all);
        }

        @Override
        public AtomicInteger readers() {
            return readers;
        }

        @Override
        public Object tag() {
            return tag;
        }

        @Override
        public void close(boolean delete) {
            closed = true;
        }
    }

    private static final class ListCursor implements ColdFile.Cursor {
        private final List<Map.Entry<FileKey, Piece>> all;
        private int at = -1;
        private long key;
        private long value;

        ListCursor(List<Map.Entry<FileKey, Piece>> all) {
            this.all = all;
        }

        @Override
        public boolean next() {
            close();
            if (++at >= all.size()) {
                return false;
            }
            key = load(all.get(at).getKey().bytes);
            value = load(all.get(at).getValue().value);
            return true;
        }

        @Override
        public int identity() {
            return all.get(at).getKey().identity;
        }

        @Override
        public int flags() {
            return all.get(at).getValue().flags;
        }

        @Override
        public long hash() {
            return all.get(at).getKey().hash;
        }

        @Override
        public long keyAddress() {
            return key;
        }

        @Override
        public int keyLength() {
            return all.get(at).getKey().bytes.length;
        }

        @Override
        public long valueAddress() {
            return value;
        }

        @Override
        public int valueLength() {
            return all.get(at).getValue().value.length;
        }

        @Override
        public void close() {
            if (key != 0) {
                Memory.free(key);
                Memory.free(value);
                key = 0;
            }
        }
    }

    private final ExecutorService executor = Executors.newSingleThreadExecutor();
    private final Random random;
    volatile boolean fails;

    MapColdStore(long seed) {
        this.random = new Random(seed);
    }

    private static long load(byte[] bytes) {
        long at = Memory.allocate(bytes.length + 8L);
        Memory.copyFromArray(bytes, 0, bytes.length, at);
        return at;
    }

    private static byte[] bytes(long at, int length) {
        byte[] out = new byte[length];
        Memory.copyToArray(at, out, 0, length);
        return out;
    }

    /** What a packed file of the segment holds. */
    static TreeMap<FileKey, List<Piece>> entries(SegmentView view) {
        if (view.file() != null) {
            return ((MapColdFile) view.file()).entries;
        }
        TreeMap<FileKey, List<Piece>> entries = new TreeMap<>();
        for (int chunk = 0; chunk < view.chunkCount(); chunk++) {
            long end = view.chunkAddress(chunk) + view.chunkBytes(chunk);
            for (long at = view.chunkAddress(chunk); at < end; at += Record.size(at)) {
                if (Record.has(at, Record.DEAD)) {
                    continue;
                }
                int identity = Record.identity(at);
                long hash = KeyHash.hash(identity, Record.keyAddress(at), Record.keyLength(at));
                FileKey key = new FileKey(Record.keyGroup(at), identity, hash, bytes(Record.keyAddress(at), Record.keyLength(at)));
                boolean chained = Record.has(at, Record.CHAINED);
                List<Piece> pieces = entries.computeIfAbsent(key, ignored -> new ArrayList<>());
                if (!chained) {
                    pieces.clear();
                }
                int flags = (Record.has(at, Record.TOMBSTONE) ? 1 : 0) | (chained ? 2 : 0);
                pieces.add(new Piece(flags, bytes(Record.valueAddress(at), Record.valueLength(at))));
            }
        }
        return entries;
    }

    private <T> Future<T> soon(java.util.concurrent.Callable<T> work) {
        if (fails) {
            return CompletableFuture.failedFuture(
                    new SlimBaseException(SlimBaseException.Kind.Unavailable, "disk is full", null, null));
        }
        if (random.nextBoolean()) {
            return executor.submit(work);
        }
        try {
            return CompletableFuture.completedFuture(work.call());
        } catch (Exception e) {
            return CompletableFuture.failedFuture(e);
        }
    }

    @Override
    public Future<ColdFile> pack(SegmentView segment) {
        return soon(() -> new MapColdFile(segment.number(), entries(segment)));
    }

    @Override
    public Future<List<ColdFile>> merge(List<ColdFile> files, List<ColdFile> witnesses, boolean oldest, LongSupplier numbers) {
        return soon(() -> {
            TreeMap<FileKey, List<Piece>> merged = new TreeMap<>();
            for (ColdFile file : files) {
                ((MapColdFile) file).entries.forEach((key, pieces) -> {
                    if ((pieces.get(0).flags & 2) == 0) {
                        merged.put(key, new ArrayList<>(pieces));
                    } else {
                        merged.computeIfAbsent(key, ignored -> new ArrayList<>()).addAll(pieces);
                    }
                });
            }
            for (ColdFile file : witnesses) {
                ((MapColdFile) file).entries.forEach((key, pieces) -> {
                    if ((pieces.get(0).flags & 2) == 0) {
                        merged.remove(key);
                    }
                });
            }
            if (oldest) {
                merged.values().forEach(pieces -> {
                    if ((pieces.get(0).flags & 1) != 0) {
                        pieces.remove(0);
                    }
                });
                merged.values().removeIf(List::isEmpty);
            }
            if (merged.isEmpty()) {
                return Collections.emptyList();
            }
            int cut = merged.firstKey().keyGroup + 2;
            List<ColdFile> out = new ArrayList<>();
            for (boolean low : new boolean[] {true, false}) {
                TreeMap<FileKey, List<Piece>> part = new TreeMap<>(merged);
                part.keySet().removeIf(key -> key.keyGroup < cut != low);
                if (!part.isEmpty()) {
                    out.add(new MapColdFile(numbers.getAsLong(), part));
                }
            }
            return out;
        });
    }

    @Override
    public void mergeRate(double bytesPerS) {}

    @Override
    public boolean hasExpired(ColdFile file) {
        return ((MapColdFile) file).entries.values().stream().flatMap(List::stream).allMatch(piece -> piece.flags == 1);
    }

    @Override
    public boolean end() {
        executor.shutdown();
        try {
            return executor.awaitTermination(10, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() {}
}
