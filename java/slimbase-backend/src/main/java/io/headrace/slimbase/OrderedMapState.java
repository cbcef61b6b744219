package io.headrace.slimbase;

import java.io.IOException;
import java.util.Map;

/**
 * Map state whose entries can be read by ranges of the user key. SlimBase's map state implements it: cast what
 * {@code getOrCreateKeyedState} of the backend returns (without time to live and without latency tracking, which wrap it).
 *
 * <p>The range read is offered for user keys of a {@code LongSerializer}, so for times.
 *
 * @param <UK> type of the user keys
 * @param <UV> type of the values
 */
public interface OrderedMapState<UK, UV> {
    /**
     * The current key's entries from the first user key on, up to and without the second one (null: to the last entry), in ascending order.
     * Only pages that the range touches are read; keys and values are deserialized when they are asked for. The map may be changed meanwhile,
     * and entries be set and removed through the iterator, as with {@code iterator()}.
     *
     * @throws io.headrace.slimbase.engine.SlimBaseException Unsupported when the keys' serializer is another one
     */
    Iterable<Map.Entry<UK, UV>> range(UK fromInclusive, UK toExclusive) throws IOException;
}
