package io.headrace.slimbase;

import java.io.IOException;
import java.util.Map;

/**
 * Map state whose entries can be read by ranges of the user key. SlimBase's map state implements it: cast what
 * {@code getOrCreateKeyedState} of the backend returns (without time to live and without latency tracking, which wrap it).
 *
 * <p>Entries are ordered by the bytes of the user key. For keys of a {@code LongSerializer} that are not negative this is the order of
 * numbers, so of time; the range read is offered for these keys only.
 *
 * @param <UK> type of the user keys
 * @param <UV> type of the values
 */
public interface OrderedMapState<UK, UV> {
    /**
     * The current key's entries from the first user key on, up to and without the second one, in ascending order. Only pages that the range
     * touches are read. The map may be changed meanwhile, as with {@code iterator()}.
     *
     * @throws io.headrace.slimbase.engine.SlimBaseException Unsupported when the keys' serializer is another one; Invalid when a bound is
     *     negative
     */
    Iterable<Map.Entry<UK, UV>> range(UK fromInclusive, UK toExclusive) throws IOException;
}
