package io.headrace.connectors.common;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/** Entries survive a checkpoint unchanged. */
class EntrySerializerTest {

    /** Also with an empty part and without parts. */
    @Test
    void roundTrip() throws IOException {
        for (Entry entry : new Entry[] {new Entry(), new Entry(new byte[0], new byte[] {1, -1, 0})}) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            EntrySerializer serializer = new EntrySerializer();
            serializer.serializeRequestToStream(entry, new DataOutputStream(bytes));
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes.toByteArray()));
            Entry back = serializer.deserializeRequestFromStream(bytes.size(), in);
            assertArrayEquals(entry.parts(), back.parts());
        }
    }
}
