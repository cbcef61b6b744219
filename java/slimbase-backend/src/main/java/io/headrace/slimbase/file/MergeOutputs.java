package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongSupplier;

/** The new files of a merge: written under temporary names, and renamed together once all are complete and synced. */
final class MergeOutputs implements AutoCloseable {
    private static final String TEMPORARY = ".tmp";
    /** Written at once: large enough that calls cost little, and what the limiter lets through in one go. */
    private static final int BUFFER_BYTES = 256 << 10;

    private final Path directory;
    private final LongSupplier segmentNumbers;
    private final EntryCursor.Gate gate;
    private final long targetBytes;
    private final AccessTimes times;
    private final List<Path> temporaries = new ArrayList<>();
    private final List<MergeResult.Output> outputs = new ArrayList<>();

    private Path path;
    private FileChannel channel;
    private OutputStream out;
    private FileBuilder builder;
    private long segmentNumber;
    private long tombstones;
    private int firstKeyGroup;
    private int keyGroup;
    private boolean isComplete;

    MergeOutputs(Path directory, LongSupplier segmentNumbers, EntryCursor.Gate gate, long targetBytes, AccessTimes times) {
        this.directory = directory;
        this.segmentNumbers = segmentNumbers;
        this.gate = gate;
        this.targetBytes = targetBytes;
        this.times = times;
    }

    void add(PendingKey key, int flags, long value, int valueLength) {
        try {
            if (builder != null && key.keyGroup != keyGroup && builder.position() >= targetBytes) {
                end();
            }
            if (builder == null) {
                begin();
                firstKeyGroup = key.keyGroup;
            }
            keyGroup = key.keyGroup;
            builder.add(key.keyGroup, key.identity, flags, key.key(), key.keyLength, value, valueLength);
            tombstones += flags & FileFormat.ENTRY_TOMBSTONE;
        } catch (IOException e) {
            throw unwritable(e);
        }
    }

    private void begin() throws IOException {
        segmentNumber = segmentNumbers.getAsLong();
        path = directory.resolve(segmentNumber + ".slim");
        Path temporary = temporary(path);
        channel = FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        temporaries.add(temporary);
        out = new BufferedOutputStream(new Gated(Channels.newOutputStream(channel)), BUFFER_BYTES);
        builder = new FileBuilder(out, segmentNumber, times);
        tombstones = 0;
    }

    private static Path temporary(Path path) {
        return path.resolveSibling(path.getFileName() + TEMPORARY);
    }

    private void end() throws IOException {
        FileStatistics written = builder.finish();
        out.flush();
        channel.force(true);
        channel.close();
        builder = null;
        outputs.add(new MergeResult.Output(path, segmentNumber, written, tombstones, firstKeyGroup, keyGroup));
    }

    /** Completes the last file and gives all their names. */
    List<MergeResult.Output> finish() {
        try {
            if (builder != null) {
                end();
            }
            for (MergeResult.Output output : outputs) {
                path = output.path();
                Files.move(temporary(path), path, StandardCopyOption.ATOMIC_MOVE);
            }
            path = directory;
            syncDirectory();
        } catch (IOException e) {
            throw unwritable(e);
        }
        isComplete = true;
        return outputs;
    }

    /** Names are safe only with their directory. */
    private void syncDirectory() throws IOException {
        try (FileChannel names = FileChannel.open(directory, StandardOpenOption.READ)) {
            names.force(true);
        }
    }

    private SlimBaseException unwritable(IOException cause) {
        return new SlimBaseException(
                SlimBaseException.Kind.Unavailable,
                "merged file could not be written, path=`" + path + "`",
                "free space on the disk of the state's local directory; the files that were to be merged are still there",
                cause);
    }

    /** Unless everything is complete, no file is left. */
    @Override
    public void close() {
        if (isComplete) {
            return;
        }
        try {
            if (channel != null) {
                channel.close();
            }
            for (Path temporary : temporaries) {
                Files.deleteIfExists(temporary);
            }
            for (MergeResult.Output output : outputs) {
                Files.deleteIfExists(output.path());
            }
        } catch (IOException e) {
            throw unwritable(e);
        }
    }

    /** Passes the gate before each write. */
    private final class Gated extends OutputStream {
        private final OutputStream inner;

        Gated(OutputStream inner) {
            this.inner = inner;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int count) throws IOException {
            gate.pass(count);
            inner.write(bytes, offset, count);
        }
    }
}
