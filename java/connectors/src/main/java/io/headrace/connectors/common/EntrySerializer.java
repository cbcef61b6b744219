package io.headrace.connectors.common;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import org.apache.flink.connector.base.sink.writer.AsyncSinkWriterStateSerializer;

/**
 * Stored form of entries in a checkpoint, version 1: number of parts (int), then for each its length (int) and bytes; big-endian.
 *
 * <p>In fact checkpoints hold none, because {@link FlushingWriter} empties its buffer before each.
 */
public final class EntrySerializer extends AsyncSinkWriterStateSerializer<Entry> {

    private static final int VERSION = 1;

    @Override
    public int getVersion() {
        return VERSION;
    }

    @Override
    protected void serializeRequestToStream(Entry entry, DataOutputStream out) throws IOException {
        out.writeInt(entry.parts().length);
        for (byte[] part : entry.parts()) {
            out.writeInt(part.length);
            out.write(part);
        }
    }

    @Override
    protected Entry deserializeRequestFromStream(long size, DataInputStream in) throws IOException {
        byte[][] parts = new byte[in.readInt()][];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = new byte[in.readInt()];
            in.readFully(parts[i]);
        }
        return new Entry(parts);
    }
}
