package io.headrace.slimbase.faults;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/** The parts of a packed file, read off the file as the format page describes it, to damage them one by one. */
public final class FileParts {
    private static final int HEADER_BYTES = 16;
    private static final int BLOCK_HEADER_BYTES = 16;
    private static final int TRAILER_BYTES = 32;

    /** A stretch of a file. */
    public static final class Part {
        public final Path file;
        /** `header`, `block=7`, `filter`, `footer` or `trailer`. */
        public final String name;

        public final long from;
        public final long to;

        Part(Path file, String name, long from, long to) {
            this.file = file;
            this.name = name;
            this.from = from;
            this.to = to;
        }

        /** Whether it has entries. */
        public boolean isBlock() {
            return name.startsWith("block=");
        }

        /** Flips a bit of the byte at this share of the part, as often as it is called: twice is as before. */
        public void flip(double share) throws IOException {
            long position = from + (long) (share * (to - from));
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                ByteBuffer one = ByteBuffer.allocate(1);
                channel.read(one, position);
                channel.write(ByteBuffer.wrap(new byte[] {(byte) (one.get(0) ^ 0x10)}), position);
            }
        }

        @Override
        public String toString() {
            return name + " of " + file;
        }
    }

    private FileParts() {}

    /** All parts of a file, in order and without gaps. */
    public static List<Part> of(Path file) throws IOException {
        ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        int length = in.capacity();
        int trailer = length - TRAILER_BYTES;
        long footer = in.getLong(trailer);
        long blocksEnd = footer - in.getInt(trailer + 20);
        List<Part> parts = new ArrayList<>();
        parts.add(new Part(file, "header", 0, HEADER_BYTES));
        int block = 0;
        for (long at = HEADER_BYTES; at < blocksEnd; block++) {
            long end = at + BLOCK_HEADER_BYTES + in.getInt((int) at + 4);
            parts.add(new Part(file, "block=" + block, at, end));
            at = end;
        }
        parts.add(new Part(file, "filter", blocksEnd, footer));
        parts.add(new Part(file, "footer", footer, trailer));
        parts.add(new Part(file, "trailer", trailer, length));
        return parts;
    }
}
