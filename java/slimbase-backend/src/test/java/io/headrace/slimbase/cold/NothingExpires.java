package io.headrace.slimbase.cold;

import io.headrace.slimbase.file.AccessTimes;
import io.headrace.slimbase.file.ValueFilter;

/** States without a time to live. */
final class NothingExpires implements Expiry {
    @Override
    public ValueFilter filter() {
        return null;
    }

    @Override
    public AccessTimes accessTimes() {
        return null;
    }

    @Override
    public boolean isExpired(int stateId, long lastAccessMs) {
        return false;
    }
}
