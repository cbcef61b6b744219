package io.headrace.quality;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** What `PLAYBACK` says of one slot: its intervals, what they add to which minute, sums, and when which state came first in the session. */
final class SlotResult {

    private static final long MINUTE_MS = 60_000;
    private static final StringData[] STATE_NAMES = new StringData[128];
    private static final String TOLD = "spfqd";

    static {
        for (char state : ("-" + Beat.STATES).toCharArray()) {
            STATE_NAMES[state] = StringData.fromString(String.valueOf(state));
        }
    }

    private final List<Object> intervals = new ArrayList<>();
    private final List<Part> parts = new ArrayList<>();
    private final Long[] firstMs = new Long[TOLD.length()];
    private Place place;
    private byte[] foundCdn;
    private Long foundCdnMs;
    private long lastMs;
    private long playMs;
    private long stallMs;
    private long stalls;
    private long brMs;
    private long errors;

    /** What the slot adds to one minute of one place. */
    private static final class Part {
        final long minuteMs;
        final Place place;
        long playMs;
        long stallMs;
        long stalls;
        boolean stalled;
        long brMs;
        long brWeightMs;
        long errors;
        long ltcCount;
        long ltcMs;

        Part(long minuteMs, Place place) {
            this.minuteMs = minuteMs;
            this.place = place;
        }

        RowData toRow() {
            return GenericRowData.of(
                    minuteMs,
                    StringData.fromBytes(place.region),
                    StringData.fromBytes(place.isp),
                    StringData.fromBytes(place.cdn),
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

    /** Take in the interval that this beat closes. */
    void add(Walk walk, Beat beat) {
        long durationMs = beat.ms - walk.fromMs;
        char state = walk.effective();
        int stall = walk.beginsStall() ? 1 : 0;
        int error = (beat.seen & Beat.ERROR) != 0 ? 1 : 0;
        Place own = placeOf(walk, beat);
        place = place == null ? beat.place : place.max(beat.place);
        lastMs = beat.ms;
        playMs += state == 'p' ? durationMs : 0;
        brMs += state == 'p' ? walk.br * durationMs : 0;
        stallMs += state == 'r' ? durationMs : 0;
        stalls += stall;
        errors += error;
        addTime(walk, beat, own, state);
        addReport(partOf(beat.ms, own), beat, stall, error);
        tell(walk, beat);
        if (!walk.isFirst()) {
            intervals.add(interval(walk, beat, own, state));
        }
    }

    private static Place placeOf(Walk walk, Beat beat) {
        byte[] cdn = walk.cdn.length > 0 ? walk.cdn : beat.place.cdn == null ? Playback.NO_CDN : beat.place.cdn;
        Place at = beat.place;
        return cdn == at.cdn ? at : new Place(at.cid, at.region, at.isp, cdn);
    }

    /** Share the interval between the minutes that it touches. */
    private void addTime(Walk walk, Beat beat, Place own, char state) {
        long borderMs = beat.ms - Math.floorMod(beat.ms, MINUTE_MS);
        if (walk.fromMs < borderMs) {
            addTime(partOf(walk.fromMs, own), borderMs - walk.fromMs, state, walk.br);
        }
        addTime(partOf(beat.ms, own), beat.ms - Math.max(walk.fromMs, borderMs), state, walk.br);
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

    private static void addReport(Part part, Beat beat, int stall, int error) {
        part.stalls += stall;
        part.stalled |= stall > 0;
        part.errors += error;
        part.ltcCount += beat.hasLtc ? 1 : 0;
        part.ltcMs += beat.hasLtc ? beat.ltc : 0;
    }

    private Part partOf(long ms, Place own) {
        long minuteMs = ms - Math.floorMod(ms, MINUTE_MS);
        for (int i = parts.size() - 1; i >= 0; i--) {
            Part part = parts.get(i);
            if (part.minuteMs == minuteMs && part.place.equals(own)) {
                return part;
            }
        }
        Part part = new Part(minuteMs, own);
        parts.add(part);
        return part;
    }

    /** Note which states this session reports for the first time, and when its CDN is known for the first time. */
    private void tell(Walk walk, Beat beat) {
        for (int i = 0; i < firstMs.length; i++) {
            int state = Beat.STATES.indexOf(TOLD.charAt(i)) + 1;
            if (beat.saw(state) && (walk.told >> state & 1) == 0) {
                firstMs[i] = beat.ms;
            }
        }
        if (walk.cdn.length == 0 && beat.place.cdn != null && foundCdnMs == null) {
            foundCdn = beat.place.cdn;
            foundCdnMs = beat.ms;
        }
    }

    private static RowData interval(Walk walk, Beat beat, Place own, char state) {
        return GenericRowData.of(
                walk.fromMs,
                beat.ms,
                StringData.fromBytes(own.cid),
                StringData.fromBytes(own.region),
                StringData.fromBytes(own.isp),
                StringData.fromBytes(own.cdn),
                STATE_NAMES[walk.reported()],
                STATE_NAMES[state],
                walk.beginsStall() ? 1 : 0,
                (beat.seen & Beat.ERROR) != 0 ? 1 : 0,
                walk.br,
                beat.hasLtc ? beat.ltc : null);
    }

    RowData toRow(Walk walk) {
        Object[] minutes = new Object[parts.size()];
        Arrays.setAll(minutes, i -> parts.get(i).toRow());
        return GenericRowData.of(
                walk.sessionMs,
                lastMs,
                walk.played(),
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
                errors,
                new GenericArrayData(intervals.toArray()),
                new GenericArrayData(minutes));
    }
}
