package io.headrace.quality;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.TableFunction;

/** `PLAY_INTERVALS(slot)`: the intervals that the slot's beats close; a session's first beat closes none. */
@FunctionHint(
        output =
                @DataTypeHint(
                        value =
                                "ROW<session_ms BIGINT NOT NULL, from_ms BIGINT NOT NULL, to_ms BIGINT NOT NULL, cid STRING NOT NULL,"
                                        + " region STRING NOT NULL, isp STRING NOT NULL, cdn STRING NOT NULL, state STRING NOT NULL,"
                                        + " state_eff STRING NOT NULL, stalls INT NOT NULL, errors INT NOT NULL, br INT, ltc INT>",
                        bridgedTo = RowData.class))
public final class PlayIntervals extends TableFunction<RowData> {

    private static final long serialVersionUID = 1L;
    private static final StringData[] STATE_NAMES = new StringData[128];

    static {
        for (char state : ("-" + Beat.STATES).toCharArray()) {
            STATE_NAMES[state] = StringData.fromString(String.valueOf(state));
        }
    }

    /** Emit the slot's intervals. */
    public void eval(byte[] slot) {
        if (slot != null) {
            Playback.walk(slot, this::interval);
        }
    }

    private void interval(Walk walk, Beat beat) {
        if (walk.isFirst()) {
            return;
        }
        collect(
                GenericRowData.of(
                        walk.sessionMs,
                        walk.fromMs,
                        beat.ms,
                        StringData.fromBytes(beat.place.cid),
                        StringData.fromBytes(beat.place.region),
                        StringData.fromBytes(beat.place.isp),
                        StringData.fromBytes(walk.cdnOf(beat)),
                        STATE_NAMES[walk.reported()],
                        STATE_NAMES[walk.effective()],
                        walk.beginsStall() ? 1 : 0,
                        (beat.seen & Beat.ERROR) != 0 ? 1 : 0,
                        walk.br,
                        beat.hasLtc ? beat.ltc : null));
    }
}
