package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import org.apache.flink.core.memory.DataInputView;

/**
 * What serializers read from: bytes outside the heap, big-endian as Flink's. Every read is checked against the end, so that a serializer that
 * does not fit its bytes fails, and does not read foreign memory. One thread.
 */
public final class OffHeapInput implements DataInputView {
    private long position;
    private long end;

    /** From now on reads these bytes. */
    public OffHeapInput set(long address, int length) {
        position = address;
        end = address + length;
        return this;
    }

    /** Address of the next byte. */
    public long position() {
        return position;
    }

    /** Bytes left. */
    public int available() {
        return (int) (end - position);
    }

    private long take(int bytes) throws EOFException {
        long at = position;
        if (bytes > end - at) {
            throw new EOFException("read beyond the end of the value, wanted_bytes=" + bytes + ", left_bytes=" + (end - at));
        }
        position = at + bytes;
        return at;
    }

    @Override
    public void readFully(byte[] to) throws IOException {
        readFully(to, 0, to.length);
    }

    @Override
    public void readFully(byte[] to, int offset, int length) throws IOException {
        if (length < 0 || offset < 0 || offset > to.length - length) {
            throw new IndexOutOfBoundsException("offset=" + offset + ", length=" + length + ", array=" + to.length);
        }
        Memory.copyToArray(take(length), to, offset, length);
    }

    @Override
    public int read(byte[] to) throws IOException {
        return read(to, 0, to.length);
    }

    @Override
    public int read(byte[] to, int offset, int length) throws IOException {
        if (length == 0) {
            return 0;
        }
        int bytes = Math.min(length, available());
        if (bytes <= 0) {
            return -1;
        }
        readFully(to, offset, bytes);
        return bytes;
    }

    @Override
    public int skipBytes(int bytes) {
        int skipped = Math.max(0, Math.min(bytes, available()));
        position += skipped;
        return skipped;
    }

    @Override
    public void skipBytesToRead(int bytes) throws IOException {
        take(bytes);
    }

    @Override
    public boolean readBoolean() throws IOException {
        return Memory.getByte(take(1)) != 0;
    }

    @Override
    public byte readByte() throws IOException {
        return Memory.getByte(take(1));
    }

    @Override
    public int readUnsignedByte() throws IOException {
        return Memory.getByte(take(1)) & 0xFF;
    }

    @Override
    public short readShort() throws IOException {
        return Short.reverseBytes(Memory.getShort(take(2)));
    }

    @Override
    public int readUnsignedShort() throws IOException {
        return readShort() & 0xFFFF;
    }

    @Override
    public char readChar() throws IOException {
        return (char) readShort();
    }

    @Override
    public int readInt() throws IOException {
        return Integer.reverseBytes(Memory.getInt(take(4)));
    }

    @Override
    public long readLong() throws IOException {
        return Long.reverseBytes(Memory.getLong(take(8)));
    }

    @Override
    public float readFloat() throws IOException {
        return Float.intBitsToFloat(readInt());
    }

    @Override
    public double readDouble() throws IOException {
        return Double.longBitsToDouble(readLong());
    }

    @Override
    public String readLine() throws IOException {
        if (available() == 0) {
            return null;
        }
        StringBuilder line = new StringBuilder();
        while (available() > 0) {
            char c = (char) readUnsignedByte();
            if (c == '\n') {
                break;
            }
            if (c != '\r') {
                line.append(c);
            }
        }
        return line.toString();
    }

    @Override
    public String readUTF() throws IOException {
        return DataInputStream.readUTF(this);
    }
}
