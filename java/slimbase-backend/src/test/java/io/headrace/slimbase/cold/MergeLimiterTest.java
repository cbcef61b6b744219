package io.headrace.slimbase.cold;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MergeLimiterTest {
    @TempDir Path folder;

    /** Stores whose folders are on one disk share what they want together; one in haste lifts the limit for all, and one that has ended wants nothing. */
    @Test
    void storesOfADiskShare() {
        MergeLimiter limiter = MergeLimiter.of(folder.resolve("a/one"));
        assertThat(MergeLimiter.of(folder.resolve("b"))).isSameAs(limiter);
        double before = limiter.bytesPerS();
        Object one = new Object();
        Object two = new Object();
        limiter.want(one, 100);
        limiter.want(two, 50);
        assertThat(limiter.bytesPerS()).isEqualTo(before + 150);
        limiter.want(one, 10);
        assertThat(limiter.bytesPerS()).isEqualTo(before + 60);
        limiter.want(two, Double.POSITIVE_INFINITY);
        assertThat(limiter.bytesPerS()).isZero();
        limiter.want(two, 0);
        assertThat(limiter.bytesPerS()).isEqualTo(before + 10);
        limiter.want(one, 0);
        assertThat(limiter.bytesPerS()).isEqualTo(before);
    }
}
