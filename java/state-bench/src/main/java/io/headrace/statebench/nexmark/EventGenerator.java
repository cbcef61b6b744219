package io.headrace.statebench.nexmark;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/**
 * Event number n of the NEXMark auction site, a pure function of n.
 *
 * <p>Own code after the published model (Tucker et al., "NEXMark: a benchmark for queries over data streams", draft 2002,
 * with the proportions, hot ratios, active windows and average sizes that Apache Beam's documentation of its Nexmark suite
 * gives): of 50 events 1 is a person, 3 are auctions, 46 bids; half of the bids go to the hot auction, three of four to
 * the hot bidder, three of four auctions belong to the hot seller; bids go to the last 100 auctions, people act among the
 * last 1,000. Event time is n / rate, in order.
 */
final class EventGenerator implements GeneratorFunction<Long, RowData> {

    static final int PERSON = 0;
    static final int AUCTION = 1;
    static final int BID = 2;

    private static final long serialVersionUID = 1L;

    private static final long PEOPLE_OF_50 = 1;
    private static final long AUCTIONS_OF_50 = 3;
    private static final long TOTAL = 50;
    private static final long FIRST_ID = 1_000;
    private static final long ACTIVE_PEOPLE = 1_000;
    private static final long IN_FLIGHT_AUCTIONS = 100;
    /** Ids may be named shortly before their event comes. */
    private static final long ID_LEAD = 10;
    private static final long HOT_STRIDE = 100;
    private static final int HOT_AUCTION_RATIO = 2;
    private static final int HOT_BIDDER_RATIO = 4;
    private static final int HOT_SELLER_RATIO = 4;
    private static final int HOT_CHANNEL_RATIO = 2;
    private static final long FIRST_CATEGORY = 10;
    private static final long CATEGORIES = 5;
    private static final int CHANNELS = 10_000;
    private static final int PERSON_BYTES = 200;
    private static final int AUCTION_BYTES = 500;
    private static final int BID_BYTES = 100;
    /** 2015-07-15T00:00:00Z, as in Beam. */
    private static final long BASE_MS = 1_436_918_400_000L;

    private static final String[] STATES = {"AZ", "CA", "ID", "OR", "WA", "WY"};
    private static final String[] CITIES = {
        "Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"
    };
    private static final String[] HOT_CHANNELS = {"Google", "Facebook", "Baidu", "Apple"};

    private final NexmarkOptions options;
    private transient Draws draws;
    private transient StringData[] states;
    private transient StringData[] cities;
    private transient StringData[] channels;

    EventGenerator(NexmarkOptions options) {
        this.options = options;
    }

    @Override
    public void open(SourceReaderContext context) {
        draws = new Draws();
        states = fixed(STATES);
        cities = fixed(CITIES);
        channels = new StringData[CHANNELS];
        for (int i = 0; i < CHANNELS; i++) {
            channels[i] = Draws.fixed(i < HOT_CHANNELS.length ? HOT_CHANNELS[i] : "channel-" + i);
        }
    }

    private static StringData[] fixed(String[] texts) {
        StringData[] fixed = new StringData[texts.length];
        for (int i = 0; i < texts.length; i++) {
            fixed[i] = Draws.fixed(texts[i]);
        }
        return fixed;
    }

    @Override
    public RowData map(Long number) throws Exception {
        if (number == 0 && options.startPath != null) {
            String now = Long.toString(System.currentTimeMillis());
            Files.write(Path.of(options.startPath), now.getBytes(StandardCharsets.UTF_8));
        }
        return event(number);
    }

    RowData event(long number) {
        draws.seed(number);
        long place = number % TOTAL;
        TimestampData at = TimestampData.fromEpochMillis(timeMs(number));
        GenericRowData row = new GenericRowData(4);
        if (place < PEOPLE_OF_50) {
            row.setField(0, PERSON);
            row.setField(1, person(number, at));
        } else if (place < PEOPLE_OF_50 + AUCTIONS_OF_50) {
            row.setField(0, AUCTION);
            row.setField(2, auction(number, at));
        } else {
            row.setField(0, BID);
            row.setField(3, bid(number, at));
        }
        return row;
    }

    private long timeMs(long number) {
        return BASE_MS + number * 1_000 / options.ratePerSecond;
    }

    private RowData person(long number, TimestampData at) {
        StringData name = draws.text(12);
        StringData email = draws.text(20);
        StringData card = draws.text(19);
        StringData city = cities[(int) draws.below(cities.length)];
        StringData state = states[(int) draws.below(states.length)];
        StringData extra = draws.extra(8 + 12 + 20 + 19 + 10 + 2 + 8, PERSON_BYTES);
        return GenericRowData.of(FIRST_ID + lastPerson(number), name, email, card, city, state, at, extra);
    }

    private RowData auction(long number, TimestampData at) {
        long initial = draws.price();
        long reserve = initial + draws.price();
        long lastPerson = lastPerson(number);
        long seller = draws.isHot(HOT_SELLER_RATIO) ? lastPerson / HOT_STRIDE * HOT_STRIDE : anyPerson(number);
        TimestampData expires = TimestampData.fromEpochMillis(at.getMillisecond() + lengthMs(number));
        StringData item = draws.text(20);
        StringData description = draws.text(100);
        StringData extra = draws.extra(8 * 7 + 120, AUCTION_BYTES);
        return GenericRowData.of(
                FIRST_ID + lastAuction(number),
                item,
                description,
                initial,
                reserve,
                at,
                expires,
                FIRST_ID + seller,
                FIRST_CATEGORY + draws.below(CATEGORIES),
                extra);
    }

    private RowData bid(long number, TimestampData at) {
        long auction = draws.isHot(HOT_AUCTION_RATIO)
                ? lastAuction(number) / HOT_STRIDE * HOT_STRIDE
                : anyAuction(number);
        long bidder = draws.isHot(HOT_BIDDER_RATIO)
                ? lastPerson(number) / HOT_STRIDE * HOT_STRIDE + 1
                : anyPerson(number);
        int among = draws.isHot(HOT_CHANNEL_RATIO) ? HOT_CHANNELS.length : CHANNELS;
        StringData channel = channels[(int) draws.below(among)];
        StringData url = draws.text(30);
        StringData extra = draws.extra(8 * 4 + 10 + 30, BID_BYTES);
        return GenericRowData.of(FIRST_ID + auction, FIRST_ID + bidder, draws.price(), channel, url, at, extra);
    }

    /** Number of the last person up to this event, from 0. */
    static long lastPerson(long number) {
        return number / TOTAL * PEOPLE_OF_50;
    }

    /** Number of the last auction up to this event, from 0; -1 turns to 0 before the first. */
    static long lastAuction(long number) {
        long place = number % TOTAL;
        long before = number / TOTAL * AUCTIONS_OF_50;
        if (place < PEOPLE_OF_50) {
            return Math.max(0, before - 1);
        }
        return before + Math.min(place - PEOPLE_OF_50, AUCTIONS_OF_50 - 1);
    }

    private long anyPerson(long number) {
        long people = lastPerson(number) + 1;
        long active = Math.min(people, ACTIVE_PEOPLE);
        return people - active + draws.below(active + ID_LEAD);
    }

    private long anyAuction(long number) {
        long last = lastAuction(number);
        long first = Math.max(0, last - IN_FLIGHT_AUCTIONS);
        return first + draws.below(last - first + 1 + ID_LEAD);
    }

    /** Up to twice the time in which as many auctions come as are in flight. */
    private long lengthMs(long number) {
        long ahead = number + IN_FLIGHT_AUCTIONS * TOTAL / AUCTIONS_OF_50;
        long horizon = timeMs(ahead) - timeMs(number);
        return 1 + draws.below(Math.max(1, horizon * 2));
    }
}
