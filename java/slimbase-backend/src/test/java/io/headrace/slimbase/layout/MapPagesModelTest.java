package io.headrace.slimbase.layout;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.engine.UnsafeAllocator;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Maps of any size hold what a sorted map holds, in the order of their keys' bytes, and their root and pages are as the format says. */
class MapPagesModelTest {
    private static final int IDENTITY = 6;
    private static final int OPERATIONS = Integer.getInteger("slimbase.model.ops", 120_000);

    private final SlimEngine engine = new SlimEngine(new MemoryBudget(256L << 20), new UnsafeAllocator(), 0, 4, id -> "map");
    /** How many of a hundred first pages are said to lie in files only, so that what leaves them is noted in the root. */
    private int farPercent;

    private int noted;
    private final Random far = new Random(3);
    private final MapPages pages =
            new MapPages(engine) {
                @Override
                boolean isFar(int number) {
                    boolean isFar = far.nextInt(100) < farPercent;
                    noted += isFar ? 1 : 0;
                    return isFar;
                }
            };
    private final Scratch key = new Scratch(64);
    private final Scratch entry = new Scratch(1 << 20);

    @AfterEach
    void close() {
        pages.close();
        key.close();
        entry.close();
        engine.close();
    }

    /** A few keys, user keys of all lengths, values up to a few KiB, barriers in between. */
    @ParameterizedTest
    @ValueSource(ints = {0, 60, 100})
    void randomOperationsAgreeWithASortedMap(int percent) throws Exception {
        farPercent = percent;
        long seed = Long.getLong("slimbase.seed", 11);
        System.out.println("map model, seed=" + seed + ", ops=" + OPERATIONS);
        Random random = new Random(seed);
        Model[] models = {new Model(0, 5), new Model(1, 900), new Model(2, 20_000), new Model(3, 150)};
        for (int i = 0; i < OPERATIONS; i++) {
            if (random.nextInt(5_000) == 0) {
                SnapshotView view = engine.seal();
                view.close();
            }
            models[random.nextInt(10) < 6 ? 2 : random.nextInt(4)].step(random);
        }
        for (Model model : models) {
            model.check();
            model.empty(random);
        }
        assertThat(engine.recordCount(IDENTITY)).isZero();
        assertThat(engine.recordCount(IDENTITY + 1)).as("pages of maps that are gone").isZero();
        assertThat(noted > OPERATIONS / 1_000).as("lists of removed keys").isEqualTo(percent > 0);
    }

    /** Entries that come in the order of time fill pages, and go again from the front. */
    @ParameterizedTest
    @ValueSource(ints = {0, 100})
    void ordersOfTimeFillPages(int percent) throws Exception {
        Model model = new Model(1, Integer.MAX_VALUE);
        for (long time = 0; time < 30_000; time++) {
            model.put(bytes(time), new byte[] {0, 1, 2, 3});
        }
        model.check();
        int bytesOfEntries = 30_000 * (2 + 8 + 4);
        assertThat(engine.liveBytes(IDENTITY + 1)).isLessThan(bytesOfEntries * 2L);
        farPercent = percent;
        for (long time = 0; time < 30_000; time++) {
            model.remove(bytes(time));
            if (time % 5_000 == 0) {
                model.check();
            }
        }
        assertThat(engine.recordCount(IDENTITY + 1)).isZero();
    }

    /** A window over a few pages: what has left is noted and no page is written for it, and what comes back is there again. */
    @Test
    void windowsNoteWhatHasLeft() throws Exception {
        farPercent = 100;
        Model model = new Model(1, Integer.MAX_VALUE);
        byte[] value = new byte[101];
        for (long time = 0; time < 2_000; time++) {
            model.put(bytes(time), value);
            if (time >= 24) {
                model.remove(bytes(time - 24));
            }
            if (time % 50 == 49) {
                model.put(bytes(time - 24), value);
                model.check();
                model.remove(bytes(time - 24));
            }
            if (time % 97 == 0) {
                engine.seal().close();
            }
            model.check();
        }
        assertThat(noted).isGreaterThan(1_500);
    }

    /** User keys that are alike for longer than a separator can be stay together and are found. */
    @Test
    void longLikeKeysAreFound() throws Exception {
        Model model = new Model(1, Integer.MAX_VALUE);
        for (int i = 0; i < 5; i++) {
            byte[] userKey = new byte[70_000];
            userKey[69_999] = (byte) i;
            model.put(userKey, new byte[] {0, (byte) i});
        }
        model.check();
    }

    private static byte[] bytes(long value) {
        byte[] bytes = new byte[8];
        for (int i = 0; i < 8; i++) {
            bytes[i] = (byte) (value >>> 56 - 8 * i);
        }
        return bytes;
    }

    /** One map and what it should hold. */
    private final class Model {
        private final TreeMap<byte[], byte[]> expected = new TreeMap<>(Arrays::compareUnsigned);
        private final int keyGroup;
        private final int keys;

        private Model(int keyGroup, int keys) {
            this.keyGroup = keyGroup;
            this.keys = keys;
        }

        private long key() {
            long at = key.ensure(16);
            Memory.putLong(at, 77L + keyGroup);
            return at;
        }

        private void step(Random random) throws Exception {
            byte[] userKey = userKey(random);
            int what = random.nextInt(100);
            if (what < 60) {
                byte[] value = new byte[1 + random.nextInt(random.nextInt(50) == 0 ? 3_000 : 40)];
                random.nextBytes(value);
                put(userKey, value);
            } else if (what < 85) {
                remove(userKey);
                assertThat(get(userKey)).isNull();
            } else if (what < 99 || random.nextInt(40) > 0) {
                assertThat(get(userKey)).isEqualTo(expected.get(userKey));
            } else {
                assertThat(pages.clear(keyGroup, IDENTITY, key(), 8)).isEqualTo(!expected.isEmpty());
                expected.clear();
            }
        }

        private byte[] userKey(Random random) {
            byte[] number = bytes(random.nextInt(keys) * 0x9E3779B97F4A7C15L);
            return Arrays.copyOf(number, 3 + (number[7] & 15));
        }

        private void put(byte[] userKey, byte[] value) {
            expected.put(userKey, value);
            long at = entry.ensure(userKey.length + value.length + 8L);
            Memory.copyFromArray(userKey, 0, userKey.length, at);
            Memory.copyFromArray(value, 0, value.length, at + userKey.length);
            pages.put(keyGroup, IDENTITY, key(), 8, at, userKey.length, at + userKey.length, value.length);
        }

        private void remove(byte[] userKey) {
            expected.remove(userKey);
            pages.remove(keyGroup, IDENTITY, key(), 8, entry.set(userKey), userKey.length);
        }

        private byte[] get(byte[] userKey) {
            long found = pages.get(keyGroup, IDENTITY, key(), 8, entry.set(userKey), userKey.length);
            if (found == 0) {
                return null;
            }
            byte[] value = new byte[pages.foundLength()];
            Memory.copyToArray(found, value, 0, value.length);
            return value;
        }

        /** Walks by runs, and compares every entry. */
        private void check() {
            MapRun run = new MapRun();
            byte[] last = null;
            for (Map.Entry<byte[], byte[]> each : expected.entrySet()) {
                if (!run.hasNext()) {
                    long after = last == null ? 0 : entry.set(last);
                    assertThat(pages.load(keyGroup, IDENTITY, key(), 8, after, last == null ? 0 : last.length, false, run)).isTrue();
                }
                run.advance();
                last = Arrays.copyOfRange(run.bytes(), run.keyOffset(), run.keyOffset() + run.keyLength());
                assertThat(last).isEqualTo(each.getKey());
                assertThat(Arrays.copyOfRange(run.bytes(), run.valueOffset(), run.valueOffset() + run.valueLength()))
                        .isEqualTo(each.getValue());
                assertThat(get(last)).isEqualTo(each.getValue());
            }
            assertThat(run.hasNext()).isFalse();
            checkPages();
        }

        private void checkPages() {
            long root = engine.find(keyGroup, IDENTITY, key(), 8);
            if (root != 0 && MapFormat.isPaged(Record.valueAddress(root))) {
                long directory = Record.valueAddress(root);
                assertThat(MapFormat.separatorLength(directory, 0)).isZero();
                int used = MapFormat.pagedRootBytes(directory) + MapFormat.removedBytes(directory);
                assertThat(used).isLessThanOrEqualTo(Record.valueLength(root));
                assertThat(MapFormat.removedBytes(directory) == 0 || MapFormat.pageCount(directory) > 1).isTrue();
            }
        }

        private void empty(Random random) {
            for (byte[] userKey : expected.keySet().toArray(new byte[0][])) {
                remove(userKey);
            }
            assertThat(engine.find(keyGroup, IDENTITY, key(), 8)).isZero();
        }
    }
}
