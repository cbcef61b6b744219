package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.local.LocalFileSystem;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A checkpoint on a disk of this machine is brought there piece by piece; a storage elsewhere is left to its client. */
class SteadyUploadTest {
    private static final int VALUES = 40;
    private static final int VALUE_CHARACTERS = 1 << 20;
    private static final int PIECES = 2;

    @TempDir java.nio.file.Path folder;

    /** Flink syncs each file once, at its end. */
    private final AtomicInteger files = new AtomicInteger();

    private final AtomicInteger syncs = new AtomicInteger();

    /** Local files, whose syncs are counted. */
    private final class CountingFiles extends LocalFileSystem {
        @Override
        public FSDataOutputStream create(Path file, WriteMode mode) throws IOException {
            FSDataOutputStream out = super.create(file, mode);
            files.incrementAndGet();
            return new FSDataOutputStream() {
                @Override
                public void write(int b) throws IOException {
                    out.write(b);
                }

                @Override
                public void write(byte[] bytes, int offset, int length) throws IOException {
                    out.write(bytes, offset, length);
                }

                @Override
                public long getPos() throws IOException {
                    return out.getPos();
                }

                @Override
                public void flush() throws IOException {
                    out.flush();
                }

                @Override
                public void sync() throws IOException {
                    syncs.incrementAndGet();
                    out.sync();
                }

                @Override
                public void close() throws IOException {
                    out.close();
                }
            };
        }
    }

    private void checkpoint(String scheme, int bufferBytes) throws Exception {
        for (String each : new String[] {"chk-1", "shared", "taskowned"}) {
            Files.createDirectories(folder.resolve(each));
        }
        FsCheckpointStorageLocation location =
                new FsCheckpointStorageLocation(
                        new CountingFiles(),
                        new Path(scheme + folder.resolve("chk-1")),
                        new Path(scheme + folder.resolve("shared")),
                        new Path(scheme + folder.resolve("taskowned")),
                        CheckpointStorageLocationReference.getDefault(),
                        1024,
                        bufferBytes);
        KeyGroupRange all = KeyGroupRange.of(0, Subtask.MAX_PARALLELISM - 1);
        try (Subtask subtask = new Subtask(new SlimBaseStateBackend(), all, TestJob.noHandles(), null)) {
            Random random = new Random(1);
            for (int key = 0; key < VALUES; key++) {
                StringBuilder value = new StringBuilder(VALUE_CHARACTERS);
                random.ints(VALUE_CHARACTERS, 1, 128).forEach(c -> value.append((char) c));
                subtask.setValue(key, value.toString());
            }
            long bytes = subtask.snapshot(1, location, Subtask.checkpoint()).getStateSize();
            assertTrue(bytes > VALUES * (VALUE_CHARACTERS / 2), "bytes=" + bytes);
        }
    }

    @Test
    void localDisk() throws Exception {
        checkpoint("file://", 4096);
        assertTrue(syncs.get() - files.get() >= PIECES, "syncs=" + syncs + ", files=" + files);
    }

    /** Flink's stream makes its file when its buffer is full. */
    @Test
    void largeBuffer() throws Exception {
        checkpoint("file://", 64 << 20);
        assertTrue(syncs.get() - files.get() >= PIECES, "syncs=" + syncs + ", files=" + files);
    }

    @Test
    void storageElsewhere() throws Exception {
        checkpoint("elsewhere://host", 4096);
        assertEquals(files.get(), syncs.get());
    }
}
