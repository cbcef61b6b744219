package io.headrace.slimbase.engine;

import java.lang.reflect.Field;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import sun.misc.Unsafe;

/**
 * The one class that touches memory outside the Java heap, so that another mechanism can take the place of {@code sun.misc.Unsafe}.
 *
 * <p>No bounds are checked here: callers own the addresses. Values are in the machine's order, which must be little-endian (the
 * format's order); on another machine the class refuses to load.
 */
public final class Memory {
    private static final Unsafe UNSAFE = unsafe();
    private static final long BYTES = Unsafe.ARRAY_BYTE_BASE_OFFSET;
    private static final long BUFFER_ADDRESS = bufferAddress();

    private Memory() {}

    private static Unsafe unsafe() {
        if (java.nio.ByteOrder.nativeOrder() != java.nio.ByteOrder.LITTLE_ENDIAN) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "slimbase needs a little-endian machine",
                    "name another `state.backend.type`",
                    null);
        }
        try {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return (Unsafe) field.get(null);
        } catch (ReflectiveOperationException e) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported, "memory access is closed in this JVM", "run on Java 11, 17 or 21", e);
        }
    }

    private static long bufferAddress() {
        try {
            return UNSAFE.objectFieldOffset(Buffer.class.getDeclaredField("address"));
        } catch (ReflectiveOperationException e) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported, "memory access is closed in this JVM", "run on Java 11, 17 or 21", e);
        }
    }

    /** Where a direct buffer's memory begins, for it is channels and checksums that want buffers. */
    public static long addressOf(ByteBuffer direct) {
        return UNSAFE.getLong(direct, BUFFER_ADDRESS);
    }

    /** Gives a direct buffer's memory back at once; nobody may use the buffer, or a view of it, any more. */
    public static void free(ByteBuffer direct) {
        UNSAFE.invokeCleaner(direct);
    }

    public static byte getByte(long address) {
        return UNSAFE.getByte(address);
    }

    public static short getShort(long address) {
        return UNSAFE.getShort(address);
    }

    public static int getInt(long address) {
        return UNSAFE.getInt(address);
    }

    public static long getLong(long address) {
        return UNSAFE.getLong(address);
    }

    public static void putByte(long address, byte value) {
        UNSAFE.putByte(address, value);
    }

    public static void putShort(long address, short value) {
        UNSAFE.putShort(address, value);
    }

    public static void putInt(long address, int value) {
        UNSAFE.putInt(address, value);
    }

    public static void putLong(long address, long value) {
        UNSAFE.putLong(address, value);
    }

    /** Copies; the ranges may overlap. */
    public static void copy(long from, long to, long bytes) {
        if (bytes <= 64 && (to >= from + bytes || from >= to + bytes)) {
            copySmall(from, to, (int) bytes);
        } else {
            UNSAFE.copyMemory(from, to, bytes);
        }
    }

    /** A call into the JVM costs more than a few moves. */
    private static void copySmall(long from, long to, int bytes) {
        int done = 0;
        for (; done + 8 <= bytes; done += 8) {
            UNSAFE.putLong(to + done, UNSAFE.getLong(from + done));
        }
        for (; done < bytes; done++) {
            UNSAFE.putByte(to + done, UNSAFE.getByte(from + done));
        }
    }

    public static void copyToArray(long from, byte[] to, int offset, int bytes) {
        UNSAFE.copyMemory(null, from, to, BYTES + offset, bytes);
    }

    public static void copyFromArray(byte[] from, int offset, int bytes, long to) {
        UNSAFE.copyMemory(from, BYTES + offset, null, to, bytes);
    }

    /** Copies out of any array, e.g. of a memory segment; {@code arrayOffset} includes the array's base. */
    public static void copyFromObject(Object from, long arrayOffset, long to, long bytes) {
        UNSAFE.copyMemory(from, arrayOffset, null, to, bytes);
    }

    public static boolean equal(long a, long b, int bytes) {
        int done = 0;
        for (; done + 8 <= bytes; done += 8) {
            if (UNSAFE.getLong(a + done) != UNSAFE.getLong(b + done)) {
                return false;
            }
        }
        for (; done < bytes; done++) {
            if (UNSAFE.getByte(a + done) != UNSAFE.getByte(b + done)) {
                return false;
            }
        }
        return true;
    }

    /** Compares as unsigned bytes, a prefix first. */
    public static int compare(long a, int aBytes, long b, int bBytes) {
        int common = Math.min(aBytes, bBytes);
        int done = 0;
        for (; done + 8 <= common; done += 8) {
            long left = UNSAFE.getLong(a + done);
            long right = UNSAFE.getLong(b + done);
            if (left != right) {
                return Long.compareUnsigned(Long.reverseBytes(left), Long.reverseBytes(right));
            }
        }
        for (; done < common; done++) {
            int difference = (UNSAFE.getByte(a + done) & 0xFF) - (UNSAFE.getByte(b + done) & 0xFF);
            if (difference != 0) {
                return difference;
            }
        }
        return aBytes - bBytes;
    }

    public static void zero(long address, long bytes) {
        UNSAFE.setMemory(address, bytes, (byte) 0);
    }

    public static long allocate(long bytes) {
        return UNSAFE.allocateMemory(bytes);
    }

    public static long reallocate(long address, long bytes) {
        return UNSAFE.reallocateMemory(address, bytes);
    }

    public static void free(long address) {
        UNSAFE.freeMemory(address);
    }
}
