package io.headrace.quality;

import java.nio.charset.StandardCharsets;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * `PLAYBACK(said) OVER (PARTITION BY sid ORDER BY ts)`: a slot together with what was known of the session before it.
 *
 * <p>Null for a slot without beats. `slot` is for `PLAY_INTERVALS` and `PLAY_MINUTES`, which walk it once more; the other columns are what the slot was for its session: sums, and when the
 * session reported a state (`s_ms` …) or named its CDN for the first time, if it did in this slot. No arrays in it, because Flink copies a nested row
 * wholly wherever one of its fields is used.
 */
@FunctionHint(output = @DataTypeHint(value = Playback.RESULT, bridgedTo = RowData.class))
public final class Playback extends AggregateFunction<RowData, Playback.Memory> {

    static final String RESULT =
            "ROW<slot BYTES, session_ms BIGINT, last_ms BIGINT, played BOOLEAN, cid STRING, region STRING, isp STRING,"
                    + " found_cdn STRING, found_cdn_ms BIGINT, s_ms BIGINT, p_ms BIGINT, f_ms BIGINT, q_ms BIGINT, d_ms BIGINT,"
                    + " play_ms BIGINT, stall_ms BIGINT, stalls BIGINT, br_ms BIGINT, errors BIGINT>";
    static final byte[] NO_CDN = "none".getBytes(StandardCharsets.US_ASCII);

    private static final long serialVersionUID = 1L;
    private static final byte[] NOTHING = new byte[0];

    private transient ByteWriter out;

    /** What is known before the slot, as {@link Walk} writes it, and the slot's beats. */
    public static final class Memory {
        public byte[] past = new byte[0];
        public byte[] beats = new byte[0];
    }

    @Override
    public Memory createAccumulator() {
        return new Memory();
    }

    /** Go on to the next slot. */
    public void accumulate(
            Memory memory, @DataTypeHint(value = PlaySlot.RESULT, bridgedTo = RowData.class) RowData said) {
        if (memory.beats.length > 0) {
            Walk walk = Walk.read(memory.past);
            for (Beat beat : new Beats(memory.beats)) {
                walk.step(beat);
            }
            writer().clear();
            walk.write(out);
            memory.past = out.toBytes();
        }
        memory.beats = said.isNullAt(0) ? NOTHING : said.getBinary(0);
    }

    @Override
    public RowData getValue(Memory memory) {
        if (memory.beats.length == 0) {
            return null;
        }
        writer().clear();
        out.string(memory.past);
        out.put(memory.beats, 0, memory.beats.length);
        byte[] slot = out.toBytes();
        SlotSums sums = new SlotSums();
        walk(slot, sums);
        return sums.toRow(slot);
    }

    /** Walk a slot as {@link #getValue} gave it. */
    static void walk(byte[] slot, Visitor visitor) {
        ByteReader in = new ByteReader(slot);
        Walk walk = Walk.read(in.string());
        for (Beat beat : new Beats(in)) {
            walk.step(beat);
            visitor.visit(walk, beat);
        }
    }

    /** Sees each beat of a slot, and what is known of the session when it is reached. */
    interface Visitor {
        void visit(Walk walk, Beat beat);
    }

    private ByteWriter writer() {
        if (out == null) {
            out = new ByteWriter(128);
        }
        return out;
    }
}
