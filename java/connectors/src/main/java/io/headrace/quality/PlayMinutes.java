package io.headrace.quality;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.TableFunction;

/**
 * `PLAY_MINUTES(slot)`: what the slot adds to which minute of which place, one row each.
 *
 * <p>An interval is shared between the minutes that it touches, two at most; what a beat tells (stall begun, error, latency) belongs to its own minute.
 */
@FunctionHint(
        output =
                @DataTypeHint(
                        value =
                                "ROW<minute_ms BIGINT NOT NULL, region STRING NOT NULL, isp STRING NOT NULL, cdn STRING NOT NULL,"
                                        + " cid STRING NOT NULL, play_ms BIGINT NOT NULL, stall_ms BIGINT NOT NULL, stalls BIGINT NOT NULL,"
                                        + " is_stalled BOOLEAN NOT NULL, br_ms BIGINT NOT NULL, br_weight_ms BIGINT NOT NULL,"
                                        + " errors BIGINT NOT NULL, ltc_count BIGINT NOT NULL, ltc_ms BIGINT NOT NULL>",
                        bridgedTo = RowData.class))
public final class PlayMinutes extends TableFunction<RowData> {

    private static final long serialVersionUID = 1L;
    private static final long MINUTE_MS = 60_000;

    /** What the slot adds to one minute of one place. */
    private static final class Part {
        final long minuteMs;
        final Place place;
        final byte[] cdn;
        long playMs;
        long stallMs;
        long stalls;
        boolean stalled;
        long brMs;
        long brWeightMs;
        long errors;
        long ltcCount;
        long ltcMs;

        Part(long minuteMs, Place place, byte[] cdn) {
            this.minuteMs = minuteMs;
            this.place = place;
            this.cdn = cdn;
        }

        RowData toRow() {
            return GenericRowData.of(
                    minuteMs,
                    StringData.fromBytes(place.region),
                    StringData.fromBytes(place.isp),
                    StringData.fromBytes(cdn),
                    StringData.fromBytes(place.cid),
                    playMs,
                    stallMs,
                    stalls,
                    stalled,
                    brMs,
                    brWeightMs,
                    errors,
                    ltcCount,
                    ltcMs);
        }
    }

    /** Emit the slot's additions. */
    public void eval(byte[] slot) {
        if (slot == null) {
            return;
        }
        List<Part> parts = new ArrayList<>(2);
        Playback.walk(slot, (walk, beat) -> add(parts, walk, beat));
        for (Part part : parts) {
            collect(part.toRow());
        }
    }

    private static void add(List<Part> parts, Walk walk, Beat beat) {
        byte[] cdn = walk.cdnOf(beat);
        char state = walk.effective();
        long borderMs = beat.ms - Math.floorMod(beat.ms, MINUTE_MS);
        if (walk.fromMs < borderMs) {
            addTime(partOf(parts, walk.fromMs, beat.place, cdn), borderMs - walk.fromMs, state, walk.br);
        }
        Part own = partOf(parts, beat.ms, beat.place, cdn);
        addTime(own, beat.ms - Math.max(walk.fromMs, borderMs), state, walk.br);
        own.stalls += walk.beginsStall() ? 1 : 0;
        own.stalled |= walk.beginsStall();
        own.errors += (beat.seen & Beat.ERROR) != 0 ? 1 : 0;
        own.ltcCount += beat.hasLtc ? 1 : 0;
        own.ltcMs += beat.hasLtc ? beat.ltc : 0;
    }

    private static void addTime(Part part, long ms, char state, int br) {
        if (state == 'p') {
            part.playMs += ms;
            part.brMs += br * ms;
            part.brWeightMs += br > 0 ? ms : 0;
        } else if (state == 'r') {
            part.stallMs += ms;
            part.stalled = true;
        }
    }

    private static Part partOf(List<Part> parts, long ms, Place place, byte[] cdn) {
        long minuteMs = ms - Math.floorMod(ms, MINUTE_MS);
        for (int i = parts.size() - 1; i >= 0; i--) {
            Part part = parts.get(i);
            if (part.minuteMs == minuteMs && part.place.isAround(place) && Arrays.equals(part.cdn, cdn)) {
                return part;
            }
        }
        Part part = new Part(minuteMs, place, cdn);
        parts.add(part);
        return part;
    }
}
