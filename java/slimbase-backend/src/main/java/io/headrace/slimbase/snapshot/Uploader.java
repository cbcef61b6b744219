package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.file.SteadyOutput;
import io.headrace.slimbase.snapshot.CheckpointResources.SegmentPart;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32C;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.CheckpointStateOutputStream;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointStreamWithResultProvider;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.KeyedBackendSerializationProxy;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.runtime.state.StateUtil;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;
import org.apache.flink.util.IOUtils;

/**
 * Writes one checkpoint's files and remembers them: closed without {@link #keep()}, it deletes what it has written. Streams that are being
 * written are closed when the checkpoint is cancelled. Thread-safe but for {@link #keep()} and {@link #close()}.
 */
final class Uploader implements AutoCloseable {
    /** Writes a file's content; the stream stays open. */
    interface Content {
        void write(OutputStream out) throws IOException;
    }

    /** What a meta file has at first; it grows with states and files. */
    private static final int META_BYTES = 4096;

    private final CheckpointStreamFactory streams;
    private final boolean isOnThisMachine;
    private final CloseableRegistry cancel;
    private final LocalSnapshot local;
    private final SnapshotView view;
    private final Queue<StateObject> written = new ConcurrentLinkedQueue<>();
    private final AtomicLong uploadedBytes = new AtomicLong();
    private boolean kept;

    Uploader(CheckpointStreamFactory streams, CloseableRegistry cancel, LocalSnapshot local, SnapshotView view) {
        this.streams = streams;
        this.isOnThisMachine = isOnThisMachine(streams);
        this.cancel = cancel;
        this.local = local;
        this.view = view;
    }

    /** Whether the checkpoint's files take from the disk that lookups may need. */
    private static boolean isOnThisMachine(CheckpointStreamFactory streams) {
        if (!(streams instanceof FsCheckpointStorageLocation)) {
            return false;
        }
        try {
            return !((FsCheckpointStorageLocation) streams).getSharedStateDirectory().getFileSystem().isDistributedFS();
        } catch (IOException e) {
            // Writing will say what is wrong.
            return false;
        }
    }

    SegmentUpload upload(SegmentPart part, FileReference reference, Descriptions descriptions, CheckpointedStateScope scope) {
        return new SegmentUpload(this, part, reference, descriptions, scope);
    }

    /** Nothing more is read of the segment. */
    void release(SegmentPart part) {
        view.release(part.view);
    }

    /** Writes a file to the checkpoint, and a copy of it for local recovery. */
    StreamStateHandle writeFile(String localName, CheckpointedStateScope scope, Content content) throws IOException {
        CheckpointStateOutputStream stream = streams.createCheckpointStateOutputStream(scope);
        boolean done = false;
        try {
            cancel.registerCloseable(stream);
            try (LocalSnapshot.Copy copy = local.copy(localName, stream)) {
                content.write(isOnThisMachine ? new SteadyOutput(copy, stream::sync) : copy);
                copy.finish();
            }
            unregister(stream);
            StreamStateHandle handle = stream.closeAndGetHandle();
            if (handle == null) {
                throw new IOException("checkpoint stream gave no handle, file=`" + localName + "`");
            }
            done = true;
            written.add(handle);
            uploadedBytes.addAndGet(handle.getStateSize());
            return handle;
        } finally {
            if (!done) {
                cancel.unregisterCloseable(stream);
                IOUtils.closeQuietly(stream);
            }
        }
    }

    /** Writes Flink's descriptions, the manifest, and the checksum of both. */
    SnapshotResult<StreamStateHandle> writeMeta(
            CheckpointStreamWithResultProvider stream, KeyedBackendSerializationProxy<?> proxy, Manifest manifest)
            throws IOException {
        boolean done = false;
        try {
            cancel.registerCloseable(stream);
            DataOutputSerializer out = new DataOutputSerializer(META_BYTES);
            proxy.write(out);
            manifest.write(out);
            CRC32C checksum = new CRC32C();
            checksum.update(out.getSharedBuffer(), 0, out.length());
            out.writeInt((int) checksum.getValue());
            stream.getCheckpointOutputStream().write(out.getSharedBuffer(), 0, out.length());
            unregister(stream);
            SnapshotResult<StreamStateHandle> result = stream.closeAndFinalizeCheckpointStreamResult();
            done = true;
            written.add(result);
            if (result.getJobManagerOwnedSnapshot() == null) {
                throw new IOException("checkpoint stream gave no handle, file=`meta`");
            }
            uploadedBytes.addAndGet(result.getStateSize());
            return result;
        } finally {
            if (!done) {
                cancel.unregisterCloseable(stream);
                IOUtils.closeQuietly(stream);
            }
        }
    }

    private void unregister(java.io.Closeable stream) throws IOException {
        if (!cancel.unregisterCloseable(stream)) {
            throw new IOException("checkpoint was cancelled while its files were written");
        }
    }

    /** The local copy of a file that is used again: linked, or packed once more when this machine has none. */
    void copyLocally(SegmentPart part, FileReference reference, Descriptions descriptions) {
        ColdFile file = part.view.read();
        local.linkOrWrite(
                reference.localName(),
                file == null
                        ? out -> descriptions.writer(part.view).write(reference.segmentNumber(), out)
                        : file::writeTo);
    }

    long uploadedBytes() {
        return uploadedBytes.get();
    }

    /** From here on the files belong to the checkpoint. */
    void keep() throws IOException {
        if (cancel.isClosed()) {
            throw new IOException("checkpoint was cancelled when its files had been written");
        }
        kept = true;
    }

    @Override
    public void close() {
        if (!kept) {
            written.forEach(StateUtil::discardStateObjectQuietly);
        }
    }
}
