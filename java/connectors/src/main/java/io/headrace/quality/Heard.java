package io.headrace.quality;

import java.util.Arrays;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * `HEARD(said)`: how many distinct beacons of a session came, of how many between its smallest and its greatest sequence number.
 *
 * <p>The place is the greatest of each; the CDN is that of the greatest sequence number that names one, the greatest if several do.
 */
@FunctionHint(
        output =
                @DataTypeHint(
                        value = "ROW<region STRING, isp STRING, cid STRING, cdn STRING, received BIGINT, expected BIGINT>",
                        bridgedTo = RowData.class))
public final class Heard extends AggregateFunction<RowData, Heard.Slots> {

    private static final long serialVersionUID = 1L;

    private transient ByteWriter out;

    /** The sequence numbers so far as {@link Numbers} writes them; empty when there are none. */
    public static final class Slots {
        public byte[] numbers = new byte[0];
    }

    /** A set of sequence numbers, with the places they came from. Runs of numbers are stored as runs. */
    static final class Numbers {
        private long[] numbers = new long[16];
        private int count;
        private Place place;
        private byte[] cdn;
        private long cdnAt;

        void add(long sn, Place from) {
            append(sn);
            place = place == null ? from : place.max(from);
            cdn(sn, from.cdn);
        }

        private void append(long sn) {
            if (count == numbers.length) {
                numbers = Arrays.copyOf(numbers, count * 2);
            }
            numbers[count++] = sn;
        }

        private void cdn(long sn, byte[] name) {
            if (name == null || cdn != null && sn < cdnAt) {
                return;
            }
            cdn = cdn != null && sn == cdnAt ? Place.max(cdn, name) : name;
            cdnAt = sn;
        }

        /** Take in what another set wrote. */
        void read(byte[] written) {
            ByteReader in = new ByteReader(written);
            Place from = Place.read(in);
            byte[] name = in.string();
            cdn(in.number(), name);
            place = place == null ? from : place.max(from);
            long last = 0;
            while (!in.atEnd()) {
                long first = last + in.number();
                last = first + in.number();
                for (long more = 0; more <= last - first; more++) {
                    append(first + more);
                }
            }
        }

        byte[] toBytes(ByteWriter out) {
            out.clear();
            place.write(out);
            out.string(cdn);
            out.number(cdnAt);
            Arrays.sort(numbers, 0, count);
            long last = 0;
            int at = 0;
            while (at < count) {
                long first = numbers[at++];
                long until = first;
                while (at < count && (numbers[at] == until || numbers[at] - 1 == until)) {
                    until = numbers[at++];
                }
                out.number(first - last);
                out.number(until - first);
                last = until;
            }
            return out.toBytes();
        }

        long distinct() {
            Arrays.sort(numbers, 0, count);
            long distinct = 1;
            for (int i = 1; i < count; i++) {
                distinct += numbers[i] == numbers[i - 1] ? 0 : 1;
            }
            return distinct;
        }

        long span() {
            return numbers[count - 1] - numbers[0] + 1;
        }
    }

    @Override
    public Slots createAccumulator() {
        return new Slots();
    }

    /** Take in one slot's sequence numbers. */
    public void accumulate(
            Slots slots, @DataTypeHint(value = PlaySlot.RESULT, bridgedTo = RowData.class) RowData said) {
        add(slots, said.getBinary(1));
    }

    private void add(Slots slots, byte[] heard) {
        if (slots.numbers.length == 0) {
            slots.numbers = heard;
            return;
        }
        Numbers numbers = new Numbers();
        numbers.read(slots.numbers);
        numbers.read(heard);
        if (out == null) {
            out = new ByteWriter(128);
        }
        slots.numbers = numbers.toBytes(out);
    }

    /** Take in what others gathered. */
    public void merge(Slots slots, Iterable<Slots> others) {
        for (Slots other : others) {
            if (other.numbers.length > 0) {
                add(slots, other.numbers);
            }
        }
    }

    @Override
    public RowData getValue(Slots slots) {
        if (slots.numbers.length == 0) {
            return null;
        }
        Numbers numbers = new Numbers();
        numbers.read(slots.numbers);
        Place place = numbers.place;
        return GenericRowData.of(
                StringData.fromBytes(place.region),
                StringData.fromBytes(place.isp),
                StringData.fromBytes(place.cid),
                StringData.fromBytes(numbers.cdn == null ? Playback.NO_CDN : numbers.cdn),
                numbers.distinct(),
                numbers.span());
    }
}
