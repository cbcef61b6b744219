package io.headrace.quality;

import java.nio.charset.StandardCharsets;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * `PLAYBACK(said) OVER (PARTITION BY sid ORDER BY ts)`: a slot together with what was known of the session before it.
 *
 * <p>`PLAY_INTERVALS`, `PLAY_MINUTES` and `PLAY_SESSION` walk it and say what happened. The value is short and walked three times rather than a row
 * with everything in it, because Flink copies a nested row wholly wherever one of its fields is used.
 */
public final class Playback extends AggregateFunction<byte[], Playback.Memory> {

    static final byte[] NO_CDN = "none".getBytes(StandardCharsets.US_ASCII);

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
            writer().clear();
            walk.write(out);
            memory.past = out.toBytes();
        }
        memory.beats = said.getBinary(0);
    }

    @Override
    public byte[] getValue(Memory memory) {
        writer().clear();
        out.string(memory.past);
        out.put(memory.beats, 0, memory.beats.length);
        return out.toBytes();
    }

    /** Walk a slot as {@link #getValue} gave it. */
    static void walk(byte[] play, Visitor visitor) {
        ByteReader in = new ByteReader(play);
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
