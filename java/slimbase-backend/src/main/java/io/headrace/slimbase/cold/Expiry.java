package io.headrace.slimbase.cold;

import io.headrace.slimbase.file.AccessTimes;
import io.headrace.slimbase.file.ValueFilter;

/** What the states' times to live, as they are now, mean for files. Task thread; what it hands out is asked by others. */
public interface Expiry {
    /** Tells expired values for as long as a merge takes; null when there can be none. */
    ValueFilter filter();

    /** Reads last accesses out of what is written; null when nothing has one. */
    AccessTimes accessTimes();

    /** Whether what was used last at this time, ms since 1970, has expired. False where the job has not said yet how long it wants the state. */
    boolean isExpired(int stateId, long lastAccessMs);
}
