package io.headrace.quality;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * `PLAY_SLOT(BEACON(…))`: the beacons of one session in one slot, in a few bytes.
 *
 * <p>Gives `beats`, the session's beats by time (null when all beacons were responses, which are no beats), for `PLAYBACK`; and `heard`, the sequence
 * numbers, for `HEARD`. Depends on the set of beacons only: repetitions and order change nothing.
 *
 * <p>While a slot is open its beacons lie one behind the other, 10 to 20 bytes each; one that came from the same place as the one before it
 * does not repeat the place.
 */
@FunctionHint(output = @DataTypeHint(value = PlaySlot.RESULT, bridgedTo = RowData.class))
public final class PlaySlot extends AggregateFunction<RowData, PlaySlot.Beacons> {

    static final String RESULT = "ROW<beats BYTES, heard BYTES>";

    private static final long serialVersionUID = 1L;
    static final int RESPONSE = 1;
    static final int ERROR = 2;
    static final int STATED = 4;
    static final int EXACT = 8;
    static final int HAS_BR = 16;
    static final int HAS_LTC = 32;
    static final int SAME_PLACE = 64;

    private transient ByteWriter out;

    /** The beacons so far; `placeAt` is where the last place is written, -1 when there is none. */
    public static final class Beacons {
        public byte[] rows = new byte[0];
        public int placeAt = -1;
    }

    @Override
    public Beacons createAccumulator() {
        return new Beacons();
    }

    /** Take in one beacon, as `BEACON` packs it: the length of its place, its place, its head. */
    public void accumulate(Beacons beacons, byte[] packed) {
        int placeLength = packed[0] & 0xFF | (packed[1] & 0xFF) << 8;
        int headAt = 2 + placeLength;
        int headLength = packed.length - headAt;
        int length = beacons.rows.length;
        int lastAt = beacons.placeAt;
        boolean same = lastAt >= 0
                && lastAt + placeLength <= length
                && Arrays.equals(beacons.rows, lastAt, lastAt + placeLength, packed, 2, headAt);
        byte[] rows = Arrays.copyOf(beacons.rows, length + headLength + (same ? 0 : placeLength));
        System.arraycopy(packed, headAt, rows, length, headLength);
        if (same) {
            rows[length] |= SAME_PLACE;
        } else {
            System.arraycopy(packed, 2, rows, length + headLength, placeLength);
            beacons.placeAt = length + headLength;
        }
        beacons.rows = rows;
    }

    /** Take in what another one gathered. */
    public void merge(Beacons beacons, Iterable<Beacons> others) {
        for (Beacons other : others) {
            int length = beacons.rows.length;
            byte[] rows = Arrays.copyOf(beacons.rows, length + other.rows.length);
            System.arraycopy(other.rows, 0, rows, length, other.rows.length);
            beacons.rows = rows;
            beacons.placeAt = other.placeAt < 0 ? beacons.placeAt : length + other.placeAt;
        }
    }

    @Override
    public RowData getValue(Beacons beacons) {
        List<Beat> beats = new ArrayList<>();
        Heard.Numbers numbers = new Heard.Numbers();
        ByteReader in = new ByteReader(beacons.rows);
        Place place = null;
        while (!in.atEnd()) {
            place = read(in, place, beats, numbers);
        }
        return GenericRowData.of(beats.isEmpty() ? null : beatsOf(beats), numbers.toBytes(writer()));
    }

    /** Read one beacon; gives its place. */
    private static Place read(ByteReader in, Place before, List<Beat> beats, Heard.Numbers numbers) {
        int flags = in.next();
        long sn = in.number();
        boolean response = (flags & RESPONSE) != 0;
        long ms = response ? 0 : in.number();
        int code = (flags & STATED) != 0 ? in.next() : -1;
        int br = (flags & HAS_BR) != 0 ? (int) in.number() : 0;
        int ltc = (flags & HAS_LTC) != 0 ? (int) in.number() : 0;
        Place place = (flags & SAME_PLACE) != 0 ? before : Place.read(in);
        numbers.add(sn, place);
        if (response) {
            return place;
        }
        Beat beat = beatAt(beats, ms, place);
        beat.place = beat.place.max(place);
        beat.seen |= (flags & ERROR) != 0 ? Beat.ERROR : 0;
        if (code >= 0) {
            beat.state(sn, code);
            beat.seen |= (flags & EXACT) != 0 && code > 0 ? 1 << code : 0;
        }
        if ((flags & HAS_BR) != 0) {
            beat.bitrate(br);
        }
        if ((flags & HAS_LTC) != 0) {
            beat.latency(ltc);
        }
        return place;
    }

    /** The beat of this millisecond, put in its place in order of time if it is new. Most beacons come in order. */
    private static Beat beatAt(List<Beat> beats, long ms, Place place) {
        int at = beats.size();
        while (at > 0 && beats.get(at - 1).ms > ms) {
            at--;
        }
        if (at > 0 && beats.get(at - 1).ms == ms) {
            return beats.get(at - 1);
        }
        Beat beat = new Beat(ms, place);
        beats.add(at, beat);
        return beat;
    }

    private byte[] beatsOf(List<Beat> beats) {
        ByteWriter to = writer();
        to.clear();
        Place place = null;
        long sinceMs = 0;
        for (Beat beat : beats) {
            beat.write(to, sinceMs, place);
            place = beat.place;
            sinceMs = beat.ms;
        }
        return to.toBytes();
    }

    private ByteWriter writer() {
        if (out == null) {
            out = new ByteWriter(256);
        }
        return out;
    }
}
