package io.headrace.quality;

import java.nio.charset.StandardCharsets;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * `PLAYBACK(said) OVER (PARTITION BY sid ORDER BY ts)`: what happened to a session in this slot, given all slots before.
 *
 * <p>An accumulator that knows the past but not the present slot, and the present slot itself: the result of a row is a walk over its slot. A slot holds
 * beats of one session only, because a session ends with three empty slots.
 */
@FunctionHint(output = @DataTypeHint(value = Playback.RESULT, bridgedTo = RowData.class))
public final class Playback extends AggregateFunction<RowData, Playback.Memory> {

    static final byte[] NO_CDN = "none".getBytes(StandardCharsets.US_ASCII);
    static final String RESULT =
            "ROW<session_ms BIGINT, last_ms BIGINT, played BOOLEAN, cid STRING, region STRING, isp STRING,"
                    + " found_cdn STRING, found_cdn_ms BIGINT,"
                    + " s_ms BIGINT, p_ms BIGINT, f_ms BIGINT, q_ms BIGINT, d_ms BIGINT,"
                    + " play_ms BIGINT, stall_ms BIGINT, stalls BIGINT, br_ms BIGINT, errors BIGINT,"
                    + " intervals ARRAY<ROW<from_ms BIGINT, to_ms BIGINT, cid STRING, region STRING, isp STRING, cdn STRING,"
                    + " state STRING, state_eff STRING, stalls INT, errors INT, br INT, ltc INT>>,"
                    + " minutes ARRAY<ROW<minute_ms BIGINT, region STRING, isp STRING, cdn STRING, cid STRING,"
                    + " play_ms BIGINT, stall_ms BIGINT, stalls BIGINT, is_stalled BOOLEAN, br_ms BIGINT, br_weight_ms BIGINT,"
                    + " errors BIGINT, ltc_count BIGINT, ltc_ms BIGINT>>>";

    private static final long serialVersionUID = 1L;

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
            if (out == null) {
                out = new ByteWriter(128);
            }
            out.clear();
            walk.write(out);
            memory.past = out.toBytes();
        }
        memory.beats = said.getBinary(0);
    }

    @Override
    public RowData getValue(Memory memory) {
        if (memory.beats.length == 0) {
            return null;
        }
        Walk walk = Walk.read(memory.past);
        SlotResult result = new SlotResult();
        for (Beat beat : new Beats(memory.beats)) {
            walk.step(beat);
            result.add(walk, beat);
        }
        return result.toRow(walk);
    }
}
