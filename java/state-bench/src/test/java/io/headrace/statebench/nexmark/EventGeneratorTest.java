package io.headrace.statebench.nexmark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.table.data.RowData;
import org.junit.jupiter.api.Test;

/** Events are a function of their number and follow the published proportions. */
class EventGeneratorTest {

    private static final int EVENTS = 50_000;

    private static EventGenerator generator() {
        EventGenerator generator = new EventGenerator(new NexmarkOptions(EVENTS, 100_000, null));
        generator.open(null);
        return generator;
    }

    /** Two generators, asked in different orders, give the same rows. */
    @Test
    void eventsDependOnNothingButTheirNumber() {
        EventGenerator forward = generator();
        EventGenerator backward = generator();
        String[] rows = new String[EVENTS];
        for (int i = 0; i < EVENTS; i++) {
            rows[i] = forward.event(i).toString();
        }
        for (int i = EVENTS - 1; i >= 0; i--) {
            assertEquals(rows[i], backward.event(i).toString());
        }
    }

    /** Of 50 events, 1 is a person, 3 are auctions, 46 bids; ids of people and auctions are dense. */
    @Test
    void proportionsAndIdsAreAsPublished() {
        EventGenerator generator = generator();
        long[] counts = new long[3];
        for (int i = 0; i < EVENTS; i++) {
            RowData row = generator.event(i);
            int type = row.getInt(0);
            if (type == EventGenerator.PERSON) {
                assertEquals(1_000 + counts[type], row.getRow(1, 8).getLong(0));
            } else if (type == EventGenerator.AUCTION) {
                assertEquals(1_000 + counts[type], row.getRow(2, 10).getLong(0));
            }
            counts[type]++;
        }
        assertEquals(EVENTS / 50, counts[EventGenerator.PERSON]);
        assertEquals(EVENTS / 50 * 3, counts[EventGenerator.AUCTION]);
        assertEquals(EVENTS / 50 * 46, counts[EventGenerator.BID]);
    }

    /** About half of the bids go to auctions whose id is a multiple of the hot stride. */
    @Test
    void halfOfTheBidsAreHot() {
        EventGenerator generator = generator();
        long hot = 0;
        long bids = 0;
        for (int i = 0; i < EVENTS; i++) {
            RowData row = generator.event(i);
            if (row.getInt(0) == EventGenerator.BID) {
                bids++;
                hot += row.getRow(3, 7).getLong(0) % 100 == 0 ? 1 : 0;
            }
        }
        assertTrue(hot > 0.47 * bids && hot < 0.54 * bids, hot + " of " + bids);
    }

    /** An auction ends after it begins; a bid names an auction that is or will soon be there. */
    @Test
    void referencesAreNear() {
        EventGenerator generator = generator();
        Map<Long, Long> lengths = new HashMap<>();
        for (int i = 0; i < EVENTS; i++) {
            RowData row = generator.event(i);
            if (row.getInt(0) == EventGenerator.AUCTION) {
                RowData auction = row.getRow(2, 10);
                long length = auction.getTimestamp(6, 3).getMillisecond() - auction.getTimestamp(5, 3).getMillisecond();
                assertTrue(length > 0);
                lengths.put(auction.getLong(0), length);
            } else if (row.getInt(0) == EventGenerator.BID) {
                long ahead = row.getRow(3, 7).getLong(0) - 1_000 - EventGenerator.lastAuction(i);
                assertTrue(ahead <= 10 && ahead >= -200, "ahead=" + ahead);
            }
        }
        assertEquals(EVENTS / 50 * 3, lengths.size());
    }
}
