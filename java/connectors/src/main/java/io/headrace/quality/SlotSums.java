package io.headrace.quality;

import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** What a slot was for its session: sums, and what the session reported in it for the first time. */
final class SlotSums implements Playback.Visitor {
    private static final String TOLD = "spfqd";

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

    /** The columns of {@link Playback#RESULT}. */
    RowData toRow(byte[] slot) {
        return GenericRowData.of(
                slot,
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
