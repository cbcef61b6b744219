package io.headrace.quality;

/**
 * What a session was doing, from beat to beat: the rules of an interval (apps/live-quality/README.md).
 *
 * <p>A session ends when three whole slots of five seconds pass without a beat; the next beat begins a new one, with nothing remembered. What counts for an
 * interval is what was known at its start, that is from the beats before the one that closes it.
 */
final class Walk {

    static final long SLOT_MS = 5_000;
    static final long SILENT_SLOTS = 4;

    private static final int FIRST = 1;
    private static final int PLAYED = 2;
    private static final int STALLS = 4;

    long sessionMs = -1;
    /** Of the interval that the last beat closed. */
    long fromMs;
    int fromCode;
    private int flags;

    /** Known at the start of the interval: bitrate (0 unknown), CDN (empty: unknown), last of the states p, r, a. */
    int br;

    byte[] cdn = Place.EMPTY;
    private int waitedFor;

    /** States that were reported in this session before the last beat, as in {@link Beat#seen}. */
    int told;

    private Beat last;

    boolean isFirst() {
        return (flags & FIRST) != 0;
    }

    boolean beginsStall() {
        return (flags & STALLS) != 0;
    }

    /** Whether the session played before or at the last beat. */
    boolean played() {
        return (flags & PLAYED) != 0 || last.saw(Beat.PLAYING);
    }

    /** Go on to the next beat. */
    void step(Beat beat) {
        boolean first = last == null || beat.ms / SLOT_MS - last.ms / SLOT_MS >= SILENT_SLOTS;
        if (first) {
            sessionMs = beat.ms;
            fromMs = beat.ms;
            fromCode = 0;
            flags = FIRST;
            br = 0;
            cdn = Place.EMPTY;
            waitedFor = 0;
            told = 0;
        } else {
            remember(last);
            fromMs = last.ms;
            fromCode = last.code;
            boolean played = (flags & PLAYED) != 0;
            boolean stalls = played && last.code == Beat.PLAYING && beat.saw(Beat.STALLED);
            flags = (played ? PLAYED : 0) | (stalls ? STALLS : 0);
        }
        last = beat;
    }

    private void remember(Beat beat) {
        if (beat.saw(Beat.PLAYING)) {
            flags |= PLAYED;
        }
        if (beat.code == Beat.PLAYING || beat.code == Beat.STALLED || beat.code == Beat.PAUSED) {
            waitedFor = beat.code;
        }
        if (beat.place.cdn != null) {
            cdn = beat.place.cdn;
        }
        if (beat.hasBr) {
            br = beat.br;
        }
        told |= beat.seen;
    }

    /** The state of the interval that the last beat closed: stalled is r after the first play, and k that follows r with no p or a between. */
    char effective() {
        if (isFirst() || fromCode == 0) {
            return '-';
        }
        boolean played = (flags & PLAYED) != 0;
        if (fromCode == Beat.STALLED) {
            return played ? 'r' : 's';
        }
        return fromCode == Beat.SEEKING && played && waitedFor == Beat.STALLED ? 'r' : Beat.STATES.charAt(fromCode - 1);
    }

    /** The interval's CDN: the one last known at its start, else the one that the beat at its end names, else none. */
    byte[] cdnOf(Beat beat) {
        if (cdn.length > 0) {
            return cdn;
        }
        return beat.place.cdn == null ? Playback.NO_CDN : beat.place.cdn;
    }

    /** The state of that interval as it was reported. */
    char reported() {
        return isFirst() || fromCode == 0 ? '-' : Beat.STATES.charAt(fromCode - 1);
    }

    void write(ByteWriter out) {
        out.number(sessionMs);
        out.put(flags & PLAYED);
        out.number(br);
        out.string(cdn);
        out.put(waitedFor);
        out.number(told);
        last.write(out, 0, null);
    }

    static Walk read(byte[] written) {
        Walk walk = new Walk();
        if (written.length > 0) {
            ByteReader in = new ByteReader(written);
            walk.sessionMs = in.number();
            walk.flags = in.next();
            walk.br = (int) in.number();
            walk.cdn = in.string();
            walk.waitedFor = in.next();
            walk.told = (int) in.number();
            walk.last = Beat.read(in, 0, null);
        }
        return walk;
    }
}
