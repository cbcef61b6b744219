package io.headrace.quality;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * `PLAY_SLOT(ts_ms, sn, e, sta, cid, region, isp, cdn, br, ltc)`: the beacons of one session in one slot, in a few bytes.
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
    private static final int RESPONSE = 1;
    private static final int ERROR = 2;
    private static final int STATED = 4;
    private static final int EXACT = 8;
    private static final int HAS_BR = 16;
    private static final int HAS_LTC = 32;
    private static final int SAME_PLACE = 64;

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

    /** Take in one beacon. */
    public void accumulate(
            Beacons beacons,
            Long tsMs,
            Long sn,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData event,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData state,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData cid,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData region,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData isp,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData cdn,
            Integer br,
            Integer ltc) {
        byte[] kind = event.toBytes();
        boolean response = kind.length == 2 && kind[0] == 'r' && kind[1] == 'r';
        byte[] stated = response || state == null ? null : state.toBytes();
        Integer bitrate = response ? null : br;
        Integer latency = response ? null : ltc;
        ByteWriter to = writer();
        to.clear();
        new Place(bytes(cid), bytes(region), bytes(isp), cdn == null ? null : cdn.toBytes()).write(to);
        int placeLength = to.length();
        boolean same = beacons.placeAt >= 0 && to.endsLike(0, beacons.rows, beacons.placeAt);
        to.put((response ? RESPONSE : 0)
                | (kind.length == 1 && kind[0] == 'e' ? ERROR : 0)
                | (stated != null ? STATED : 0)
                | (stated != null && stated.length == 1 ? EXACT : 0)
                | (bitrate != null ? HAS_BR : 0)
                | (latency != null ? HAS_LTC : 0)
                | (same ? SAME_PLACE : 0));
        to.number(sn);
        if (!response) {
            to.number(tsMs);
        }
        if (stated != null) {
            to.put(Beat.codeOf(stated));
        }
        if (bitrate != null) {
            to.number(bitrate);
        }
        if (latency != null) {
            to.number(latency);
        }
        append(beacons, to.toBytes(), placeLength, same);
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

    /** Append the beacon: its head, which lies behind its place in `encoded`, then its place unless it is the same. */
    private static void append(Beacons beacons, byte[] encoded, int placeLength, boolean same) {
        int length = beacons.rows.length;
        int headLength = encoded.length - placeLength;
        byte[] rows = Arrays.copyOf(beacons.rows, length + (same ? headLength : encoded.length));
        System.arraycopy(encoded, placeLength, rows, length, headLength);
        if (!same) {
            System.arraycopy(encoded, 0, rows, length + headLength, placeLength);
            beacons.placeAt = length + headLength;
        }
        beacons.rows = rows;
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

    private static byte[] bytes(StringData text) {
        return text == null ? Place.EMPTY : text.toBytes();
    }
}
