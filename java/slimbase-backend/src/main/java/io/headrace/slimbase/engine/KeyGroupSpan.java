package io.headrace.slimbase.engine;

/** Neighbouring key groups: the ones of an engine. */
public final class KeyGroupSpan {
    private final int first;
    private final int count;

    public KeyGroupSpan(int first, int count) {
        this.first = first;
        this.count = count;
    }

    public int first() {
        return first;
    }

    public int count() {
        return count;
    }
}
