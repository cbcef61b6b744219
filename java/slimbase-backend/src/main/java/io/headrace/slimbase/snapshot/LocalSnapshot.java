package io.headrace.slimbase.snapshot;

import java.io.IOException;
import java.io.OutputStream;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointStreamWithResultProvider;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.DirectoryStateHandle;

/** A checkpoint's copy on this machine, for local recovery. This one keeps nothing. */
class LocalSnapshot implements AutoCloseable {
    /** What is written goes to the checkpoint, and to the copy as long as that works. */
    static class Copy extends OutputStream {
        protected final OutputStream primary;

        Copy(OutputStream primary) {
            this.primary = primary;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            primary.write(bytes, offset, length);
        }

        /** So that the checkpoint's stream can be synced. */
        @Override
        public void flush() throws IOException {
            primary.flush();
        }

        /** All was written. */
        void finish() {}

        /** Does not close the primary stream. */
        @Override
        public void close() {}
    }

    Copy copy(String name, OutputStream primary) {
        return new Copy(primary);
    }

    void linkOrWrite(String name, Uploader.Content content) {}

    CheckpointStreamWithResultProvider metaStream(CheckpointStreamFactory streams) throws IOException {
        return CheckpointStreamWithResultProvider.createSimpleStream(CheckpointedStateScope.EXCLUSIVE, streams);
    }

    /** The copy's directory; null when there is none, or it is not whole. */
    DirectoryStateHandle complete() {
        return null;
    }

    /** Deletes the copy unless it was completed. */
    @Override
    public void close() {}
}
