package io.headrace.quality;

import java.util.Iterator;

/** The beats of a slot, as `PLAY_SLOT` wrote them, by time. */
final class Beats implements Iterable<Beat> {

    private final ByteReader in;

    Beats(byte[] written) {
        this(new ByteReader(written));
    }

    /** All that is left to read. Can be walked once. */
    Beats(ByteReader in) {
        this.in = in;
    }

    @Override
    public Iterator<Beat> iterator() {
        return new Iterator<>() {
            private long sinceMs;
            private Place place;

            @Override
            public boolean hasNext() {
                return !in.atEnd();
            }

            @Override
            public Beat next() {
                Beat beat = Beat.read(in, sinceMs, place);
                sinceMs = beat.ms;
                place = beat.place;
                return beat;
            }
        };
    }
}
