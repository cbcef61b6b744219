package io.headrace.statebench.nexmark;

import java.io.Serializable;

/** How many events, how dense in event time, and where the time of the first event is written (or null). */
final class NexmarkOptions implements Serializable {

    private static final long serialVersionUID = 1L;

    final long events;
    final long ratePerSecond;
    final String startPath;

    NexmarkOptions(long events, long ratePerSecond, String startPath) {
        this.events = events;
        this.ratePerSecond = ratePerSecond;
        this.startPath = startPath;
    }
}
