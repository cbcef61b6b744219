package io.headrace.quality;

import java.nio.charset.StandardCharsets;

/** What a session said in one millisecond; several beacons of it are merged, in any order and however often. */
final class Beat {

    /** Player states by their place, counted from 1; of two in one millisecond under one `sn` the later in this order wins. */
    static final String STATES = "sprkaefqd";

    static final int PLAYING = STATES.indexOf('p') + 1;
    static final int STALLED = STATES.indexOf('r') + 1;
    static final int SEEKING = STATES.indexOf('k') + 1;
    static final int PAUSED = STATES.indexOf('a') + 1;
    /** Bits of `seen`: bit n is the state in place n, bit 0 an error. */
    static final int ERROR = 1;

    private static final int HAS_BR = 1;
    private static final int HAS_LTC = 2;
    private static final int SAME_PLACE = 4;

    final long ms;
    int code;
    int seen;
    boolean hasBr;
    int br;
    boolean hasLtc;
    int ltc;
    Place place;
    private boolean stated;
    private long statedSn;

    Beat(long ms, Place place) {
        this.ms = ms;
        this.place = place;
    }

    /** The place of a state in {@link #STATES}, 0 for one that no standard knows. */
    static int codeOf(byte[] state) {
        if (state.length == 1) {
            return STATES.indexOf(state[0]) + 1;
        }
        return STATES.indexOf(new String(state, StandardCharsets.UTF_8)) + 1;
    }

    /** Take in a reported state. */
    void state(long sn, int reported) {
        if (!stated || sn > statedSn || sn == statedSn && reported > code) {
            stated = true;
            statedSn = sn;
            code = reported;
        }
    }

    void bitrate(int value) {
        br = hasBr ? Math.max(br, value) : value;
        hasBr = true;
    }

    void latency(int value) {
        ltc = hasLtc ? Math.max(ltc, value) : value;
        hasLtc = true;
    }

    void write(ByteWriter out, long sinceMs, Place before) {
        boolean same = place.equals(before);
        out.put((hasBr ? HAS_BR : 0) | (hasLtc ? HAS_LTC : 0) | (same ? SAME_PLACE : 0));
        out.number(ms - sinceMs);
        out.put(code);
        out.number(seen);
        if (hasBr) {
            out.number(br);
        }
        if (hasLtc) {
            out.number(ltc);
        }
        if (!same) {
            place.write(out);
        }
    }

    static Beat read(ByteReader in, long sinceMs, Place before) {
        int flags = in.next();
        Beat beat = new Beat(sinceMs + in.number(), before);
        beat.code = in.next();
        beat.seen = (int) in.number();
        if ((flags & HAS_BR) != 0) {
            beat.bitrate((int) in.number());
        }
        if ((flags & HAS_LTC) != 0) {
            beat.latency((int) in.number());
        }
        if ((flags & SAME_PLACE) == 0) {
            beat.place = Place.read(in);
        }
        return beat;
    }

    /** Whether this state was reported in the millisecond, by its place in {@link #STATES}. */
    boolean saw(int state) {
        return (seen >> state & 1) != 0;
    }
}
