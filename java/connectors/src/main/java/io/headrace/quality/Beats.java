package io.headrace.quality;

import java.util.Iterator;

/** The beats of a slot, as `PLAY_SLOT` wrote them, by time. */
final class Beats implements Iterable<Beat> {

    private final byte[] written;

    Beats(byte[] written) {
        this.written = written;
    }

    @Override
    public Iterator<Beat> iterator() {
        ByteReader in = new ByteReader(written);
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
