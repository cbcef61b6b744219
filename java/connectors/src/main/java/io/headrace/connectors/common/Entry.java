package io.headrace.connectors.common;

import java.io.Serializable;

/** What is written for one row: the parts of one request, encoded. ClickHouse needs one part, a Redis command several. */
public final class Entry implements Serializable {

    private static final long serialVersionUID = 1L;

    private final byte[][] parts;

    /** An entry of these parts; they are not copied. */
    public Entry(byte[]... parts) {
        this.parts = parts;
    }

    /** The parts, in order. */
    public byte[][] parts() {
        return parts;
    }

    /** The sum of the parts' lengths. */
    public long sizeInBytes() {
        long sum = 0;
        for (byte[] part : parts) {
            sum += part.length;
        }
        return sum;
    }
}
