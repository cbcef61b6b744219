package io.headrace.quality;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.TableFunction;

/**
 * `PLAY_SESSION(play)`: the slot as its session sees it, in one row: sums, and when the session reported a state (`s_ms` …) or named its CDN
 * (`found_cdn`) for the first time, if it did in this slot.
 */
@FunctionHint(
        output =
                @DataTypeHint(
                        value =
                                "ROW<session_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL, played BOOLEAN NOT NULL, cid STRING NOT NULL,"
                                        + " region STRING NOT NULL, isp STRING NOT NULL, found_cdn STRING, found_cdn_ms BIGINT,"
                                        + " s_ms BIGINT, p_ms BIGINT, f_ms BIGINT, q_ms BIGINT, d_ms BIGINT,"
                                        + " play_ms BIGINT NOT NULL, stall_ms BIGINT NOT NULL, stalls BIGINT NOT NULL,"
                                        + " br_ms BIGINT NOT NULL, errors BIGINT NOT NULL>",
                        bridgedTo = RowData.class))
public final class PlaySession extends TableFunction<RowData> {

    private static final long serialVersionUID = 1L;
    private static final String TOLD = "spfqd";

    /** Sums of one slot. */
    private static final class Sums implements Playback.Visitor {
        private final Long[] firstMs = new Long[TOLD.length()];
        private Walk walked;
        private Place place;
        private byte[] foundCdn;
        private Long foundCdnMs;
        private long lastMs;
        private long playMs;
        private long stallMs;
        private long stalls;
        private long brMs;
        private long errors;

        @Override
        public void visit(Walk walk, Beat beat) {
            long durationMs = beat.ms - walk.fromMs;
            char state = walk.effective();
            walked = walk;
            place = place == null ? beat.place : place.max(beat.place);
            lastMs = beat.ms;
            playMs += state == 'p' ? durationMs : 0;
            brMs += state == 'p' ? walk.br * durationMs : 0;
            stallMs += state == 'r' ? durationMs : 0;
            stalls += walk.beginsStall() ? 1 : 0;
            errors += (beat.seen & Beat.ERROR) != 0 ? 1 : 0;
            for (int i = 0; i < firstMs.length; i++) {
                int told = Beat.STATES.indexOf(TOLD.charAt(i)) + 1;
                if (beat.saw(told) && (walk.told >> told & 1) == 0) {
                    firstMs[i] = beat.ms;
                }
            }
            if (walk.cdn.length == 0 && beat.place.cdn != null && foundCdnMs == null) {
                foundCdn = beat.place.cdn;
                foundCdnMs = beat.ms;
            }
        }

        RowData toRow() {
            return GenericRowData.of(
                    walked.sessionMs,
                    lastMs,
                    walked.played(),
                    StringData.fromBytes(place.cid),
                    StringData.fromBytes(place.region),
                    StringData.fromBytes(place.isp),
                    foundCdn == null ? null : StringData.fromBytes(foundCdn),
                    foundCdnMs,
                    firstMs[0],
                    firstMs[1],
                    firstMs[2],
                    firstMs[3],
                    firstMs[4],
                    playMs,
                    stallMs,
                    stalls,
                    brMs,
                    errors);
        }
    }

    /** Emit the slot's row. */
    public void eval(byte[] play) {
        Sums sums = new Sums();
        Playback.walk(play, sums);
        collect(sums.toRow());
    }
}
