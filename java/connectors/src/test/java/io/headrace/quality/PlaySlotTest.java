package io.headrace.quality;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.Test;

/** The functions depend on the set of beacons only. Their results are compared with the oracle's by tests/cluster/test_quality_recount.py. */
class PlaySlotTest {

    private static final long SEED = 20_260;

    private static byte[] beacon(long ms, long sn, String event, String state, String cdn, Integer br) {
        return new Beacon()
                .eval(
                        ms,
                        sn,
                        StringData.fromString(event),
                        state == null ? null : StringData.fromString(state),
                        StringData.fromString("room"),
                        null,
                        StringData.fromString("isp"),
                        cdn == null ? null : StringData.fromString(cdn),
                        br,
                        null);
    }

    private static List<byte[]> beacons(Random random, int count) {
        String[] states = {"s", "p", "r", "k", "a", null, "pr", "x"};
        List<byte[]> beacons = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String state = states[random.nextInt(states.length)];
            String event = random.nextInt(3) == 0 ? "rr" : "ps";
            String cdn = random.nextInt(4) == 0 ? null : random.nextBoolean() ? "A" : "B";
            Integer br = random.nextBoolean() ? random.nextInt(5000) : null;
            beacons.add(beacon(random.nextInt(8), random.nextInt(6), event, state, cdn, br));
        }
        return beacons;
    }

    private static RowData said(List<byte[]> beacons, int splitAt) {
        PlaySlot slot = new PlaySlot();
        PlaySlot.Beacons all = slot.createAccumulator();
        PlaySlot.Beacons rest = slot.createAccumulator();
        for (int i = 0; i < beacons.size(); i++) {
            slot.accumulate(i < splitAt ? all : rest, beacons.get(i));
        }
        slot.merge(all, List.of(rest));
        return slot.getValue(all);
    }

    @Test
    void orderRepetitionAndSplitChangeNothing() {
        Random random = new Random(SEED);
        for (int round = 0; round < 200; round++) {
            List<byte[]> beacons = beacons(random, 1 + random.nextInt(12));
            RowData wanted = said(beacons, beacons.size());
            List<byte[]> shuffled = new ArrayList<>(beacons);
            shuffled.addAll(beacons.subList(0, random.nextInt(beacons.size() + 1)));
            Collections.shuffle(shuffled, random);
            RowData found = said(shuffled, random.nextInt(shuffled.size() + 1));
            assertArrayEquals(((GenericRowData) wanted).isNullAt(0) ? null : wanted.getBinary(0), found.isNullAt(0) ? null : found.getBinary(0));
            assertArrayEquals(wanted.getBinary(1), found.getBinary(1));
        }
    }

    @Test
    void responsesAreHeardButAreNoBeats() {
        RowData said = said(List.of(beacon(5, 7, "rr", "p", "A", 1), beacon(6, 9, "rr", "p", null, 1)), 1);
        assertNull(((GenericRowData) said).getField(0));
        Heard heard = new Heard();
        Heard.Slots slots = heard.createAccumulator();
        heard.accumulate(slots, said);
        RowData minute = heard.getValue(slots);
        assertEquals("A", minute.getString(3).toString());
        assertEquals(2, minute.getLong(4));
        assertEquals(3, minute.getLong(5));
    }

    @Test
    void sequenceNumbersAtTheEndsOfTheirRange() {
        List<byte[]> beacons = List.of(beacon(1, Long.MAX_VALUE, "ps", "p", "A", null), beacon(2, Long.MAX_VALUE - 1, "ps", "p", "A", null));
        Heard heard = new Heard();
        Heard.Slots slots = heard.createAccumulator();
        heard.accumulate(slots, said(beacons, 1));
        heard.accumulate(slots, said(beacons, 2));
        assertEquals(2, heard.getValue(slots).getLong(4));
    }

    @Test
    void aSilenceOfThreeSlotsBeginsASession() {
        Playback playback = new Playback();
        Playback.Memory memory = playback.createAccumulator();
        playback.accumulate(memory, said(List.of(beacon(1_000, 0, "ps", "s", null, null)), 1));
        playback.accumulate(memory, said(List.of(beacon(19_999, 1, "ps", "p", "A", null)), 1));
        assertEquals(1_000, playback.getValue(memory).getLong(1));
        playback.accumulate(memory, said(List.of(beacon(35_000, 2, "ps", "p", "A", null)), 1));
        RowData row = playback.getValue(memory);
        assertEquals(35_000, row.getLong(1));
        assertEquals(35_000, row.getLong(10));
    }
}
