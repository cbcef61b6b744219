package io.headrace.statebench.micro;

/** An endless stream of record numbers in [0, n): uniform, or Zipf 0.99 scrambled over the whole range. */
public abstract class KeyStream {

    private static final double ZIPF_THETA = 0.99;
    /** Zipf numbers are drawn before the clock runs, because drawing one costs a `pow`; 2^22 = 32 MiB of longs. */
    private static final int ZIPF_DRAWN = 1 << 22;
    private static final long GOLDEN = 0x9E3779B97F4A7C15L;
    /** Prime, so that multiplying by it permutes [0, n) for every n used here. */
    private static final long SCRAMBLE = 2_654_435_761L;

    public abstract long next();

    /** The i-th record in scrambled load order. */
    public static long loadOrder(long i, long n) {
        return (i * SCRAMBLE) % n;
    }

    public static KeyStream uniform(long n, long seed) {
        return new KeyStream() {
            private long state = seed;

            @Override
            public long next() {
                state += GOLDEN;
                return below(mix(state), n);
            }
        };
    }

    public static KeyStream zipf(long n, long seed) {
        long[] drawn = new Zipf(n, ZIPF_THETA).draw(ZIPF_DRAWN, uniform(1L << 53, seed));
        return new KeyStream() {
            private int at;

            @Override
            public long next() {
                return drawn[at++ & (ZIPF_DRAWN - 1)];
            }
        };
    }

    /** Maps 64 random bits to [0, n) without a division. */
    private static long below(long bits, long n) {
        return Math.multiplyHigh(bits >>> 1, n << 1);
    }

    /** Finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA'14). */
    public static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    /** Zipf ranks by the method of Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD'94. */
    private static final class Zipf {
        private final long n;
        private final double theta;
        private final double zeta;
        private final double eta;

        Zipf(long n, double theta) {
            this.n = n;
            this.theta = theta;
            double sum = 0;
            for (long i = 1; i <= n; i++) {
                sum += Math.pow(i, -theta);
            }
            this.zeta = sum;
            double two = 1 + Math.pow(0.5, theta);
            this.eta = (1 - Math.pow(2.0 / n, 1 - theta)) / (1 - two / zeta);
        }

        long[] draw(int count, KeyStream random) {
            long[] drawn = new long[count];
            for (int i = 0; i < count; i++) {
                long rank = rank(random.next() * 0x1.0p-53);
                drawn[i] = below(mix(rank * GOLDEN + 1), n);
            }
            return drawn;
        }

        private long rank(double u) {
            double scaled = u * zeta;
            if (scaled < 1) {
                return 0;
            }
            if (scaled < 1 + Math.pow(0.5, theta)) {
                return 1;
            }
            return Math.min(n - 1, (long) (n * Math.pow(eta * u - eta + 1, 1 / (1 - theta))));
        }
    }
}
