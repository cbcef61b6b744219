package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import java.io.IOException;
import java.io.UTFDataFormatException;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.core.memory.MemorySegment;
import org.apache.flink.core.memory.MemorySegmentWritable;

/**
 * What serializers write to: memory outside the heap that grows on demand, big-endian as Flink's. It takes memory segments as they are, so
 * that a {@code BinaryRowData} is copied once. One thread; the address may change with every write.
 */
public final class OffHeapOutput implements DataOutputView, MemorySegmentWritable, AutoCloseable {
    /** What readers by words may touch after the last byte. */
    private static final int SPARE = 16;

    private long address;
    private int capacity;
    private int position;

    public OffHeapOutput(int bytes) {
        this.capacity = bytes;
        this.address = Memory.allocate(bytes + (long) SPARE);
    }

    /** Where the bytes begin. */
    public long address() {
        return address;
    }

    /** Bytes written. */
    public int length() {
        return position;
    }

    public void clear() {
        position = 0;
    }

    /** Forgets what was written after the position. */
    public void setLength(int length) {
        assert length >= 0 && length <= position : "length beyond what was written: " + length;
        position = length;
    }

    /** Room for so many bytes more, which count as written; returns where they begin. */
    public long extend(int bytes) {
        int from = position;
        ensure(bytes);
        position = from + bytes;
        return address + from;
    }

    public byte[] toBytes() {
        byte[] bytes = new byte[position];
        Memory.copyToArray(address, bytes, 0, position);
        return bytes;
    }

    private void ensure(int more) {
        if (more > capacity - position) {
            grow(more);
        }
    }

    private void grow(int more) {
        long wanted = Math.max(position + (long) more, Math.min(capacity * 2L, Integer.MAX_VALUE - SPARE));
        if (wanted > Integer.MAX_VALUE - SPARE) {
            throw new IllegalStateException("value is over 2 GiB, written_bytes=" + position + ", more_bytes=" + more);
        }
        address = Memory.reallocate(address, wanted + SPARE);
        capacity = (int) wanted;
    }

    @Override
    public void write(int b) {
        ensure(1);
        Memory.putByte(address + position, (byte) b);
        position++;
    }

    @Override
    public void write(byte[] bytes) {
        write(bytes, 0, bytes.length);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) {
        if (length < 0 || offset < 0 || offset > bytes.length - length) {
            throw new IndexOutOfBoundsException("offset=" + offset + ", length=" + length + ", bytes=" + bytes.length);
        }
        ensure(length);
        Memory.copyFromArray(bytes, offset, length, address + position);
        position += length;
    }

    @Override
    public void write(MemorySegment segment, int offset, int length) {
        if (length < 0 || offset < 0 || offset > segment.size() - length) {
            throw new IndexOutOfBoundsException("offset=" + offset + ", length=" + length + ", segment=" + segment.size());
        }
        if (segment.isOffHeap()) {
            ensure(length);
            Memory.copy(segment.getAddress() + offset, address + position, length);
            position += length;
        } else {
            write(segment.getArray(), offset, length);
        }
    }

    @Override
    public void write(DataInputView source, int length) throws IOException {
        byte[] bytes = new byte[length];
        source.readFully(bytes);
        write(bytes, 0, length);
    }

    @Override
    public void skipBytesToWrite(int bytes) {
        ensure(bytes);
        Memory.zero(address + position, bytes);
        position += bytes;
    }

    @Override
    public void writeBoolean(boolean value) {
        write(value ? 1 : 0);
    }

    @Override
    public void writeByte(int value) {
        write(value);
    }

    @Override
    public void writeShort(int value) {
        ensure(2);
        Memory.putShort(address + position, Short.reverseBytes((short) value));
        position += 2;
    }

    @Override
    public void writeChar(int value) {
        writeShort(value);
    }

    @Override
    public void writeInt(int value) {
        ensure(4);
        Memory.putInt(address + position, Integer.reverseBytes(value));
        position += 4;
    }

    @Override
    public void writeLong(long value) {
        ensure(8);
        Memory.putLong(address + position, Long.reverseBytes(value));
        position += 8;
    }

    @Override
    public void writeFloat(float value) {
        writeInt(Float.floatToIntBits(value));
    }

    @Override
    public void writeDouble(double value) {
        writeLong(Double.doubleToLongBits(value));
    }

    @Override
    public void writeBytes(String text) {
        for (int i = 0; i < text.length(); i++) {
            write(text.charAt(i));
        }
    }

    @Override
    public void writeChars(String text) {
        for (int i = 0; i < text.length(); i++) {
            writeChar(text.charAt(i));
        }
    }

    @Override
    public void writeUTF(String text) throws IOException {
        int lengthAt = position;
        writeShort(0);
        for (int i = 0; i < text.length(); i++) {
            writeUtfChar(text.charAt(i));
        }
        int bytes = position - lengthAt - 2;
        if (bytes > 0xFFFF) {
            position = lengthAt;
            throw new UTFDataFormatException("text is too long for writeUTF, bytes=" + bytes);
        }
        Memory.putShort(address + lengthAt, Short.reverseBytes((short) bytes));
    }

    private void writeUtfChar(char c) {
        if (c >= 0x0001 && c <= 0x007F) {
            write(c);
        } else if (c > 0x07FF) {
            write(0xE0 | c >> 12 & 0x0F);
            write(0x80 | c >> 6 & 0x3F);
            write(0x80 | c & 0x3F);
        } else {
            write(0xC0 | c >> 6 & 0x1F);
            write(0x80 | c & 0x3F);
        }
    }

    @Override
    public void close() {
        if (address != 0) {
            Memory.free(address);
            address = 0;
            capacity = 0;
            position = 0;
        }
    }
}
