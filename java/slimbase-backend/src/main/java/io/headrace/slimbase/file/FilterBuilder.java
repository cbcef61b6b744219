package io.headrace.slimbase.file;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Collects the hashes of a file's entries and makes its filter.
 *
 * <p>A filter is sized by its number of keys. When a bound is known beforehand it is filled at once and, should the keys turn out to be fewer than half,
 * folded: a block is chosen by multiplication, so halving the number of blocks joins neighbours. Otherwise the hashes are kept until the end.
 */
final class FilterBuilder {
    /** Hashes of one array: 32 KiB, an ordinary object to every garbage collector. */
    private static final int RUN = 4096;

    private int[] words;
    private int blocks;
    private final List<long[]> runs = new ArrayList<>();
    private int inRun = RUN;
    private long keys;
    private long lastHash;

    /** Without a bound. */
    FilterBuilder() {}

    FilterBuilder(long keysAtMost) {
        // A multiple of 8 can be folded three times.
        blocks = KeyFilter.blocksFor(keysAtMost) + 7 & ~7;
        words = new int[blocks * KeyFilter.WORDS];
    }

    /** Adds an entry's hash; entries of one key, which follow each other, count once. */
    void add(long hash) {
        if (keys > 0 && hash == lastHash) {
            return;
        }
        keys++;
        lastHash = hash;
        if (words != null) {
            KeyFilter.add(words, blocks, hash);
            return;
        }
        if (inRun == RUN) {
            runs.add(new long[RUN]);
            inRun = 0;
        }
        runs.get(runs.size() - 1)[inRun++] = hash;
    }

    /** The filter's bytes; empty when nothing was added. */
    byte[] finish() {
        if (keys == 0) {
            return new byte[0];
        }
        if (words == null) {
            fill();
        } else {
            fold();
        }
        ByteBuffer bytes = FileBuilder.littleEndian(blocks * FileFormat.FILTER_BLOCK_BYTES);
        bytes.asIntBuffer().put(words, 0, blocks * KeyFilter.WORDS);
        return bytes.array();
    }

    private void fill() {
        blocks = KeyFilter.blocksFor(keys);
        words = new int[blocks * KeyFilter.WORDS];
        for (int run = 0; run < runs.size(); run++) {
            long[] hashes = runs.get(run);
            int count = run + 1 == runs.size() ? inRun : RUN;
            for (int i = 0; i < count; i++) {
                KeyFilter.add(words, blocks, hashes[i]);
            }
        }
        runs.clear();
    }

    private void fold() {
        int wanted = KeyFilter.blocksFor(keys);
        while (blocks % 2 == 0 && blocks / 2 >= wanted) {
            blocks /= 2;
            for (int i = 0; i < blocks * KeyFilter.WORDS; i++) {
                int left = i / KeyFilter.WORDS * 2 * KeyFilter.WORDS + i % KeyFilter.WORDS;
                words[i] = words[left] | words[left + KeyFilter.WORDS];
            }
        }
        words = Arrays.copyOf(words, blocks * KeyFilter.WORDS);
    }
}
