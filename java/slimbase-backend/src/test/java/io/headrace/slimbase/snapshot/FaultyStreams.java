package io.headrace.slimbase.snapshot;

import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.runtime.state.CheckpointStateOutputStream;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.StreamStateHandle;

/** A stream factory whose n-th call fails: opening, writing, flushing or closing a stream. */
final class FaultyStreams implements CheckpointStreamFactory {
    private final CheckpointStreamFactory inner;
    private final int failAt;
    private final Runnable atFailure;
    final AtomicInteger calls = new AtomicInteger();

    /** `failAt` counts from 1; 0 never fails. */
    FaultyStreams(CheckpointStreamFactory inner, int failAt) {
        this(inner, failAt, null);
    }

    /** Instead of failing, something else may be done at the n-th call. */
    FaultyStreams(CheckpointStreamFactory inner, int failAt, Runnable atFailure) {
        this.inner = inner;
        this.failAt = failAt;
        this.atFailure = atFailure;
    }

    private void call(String what) throws IOException {
        if (calls.incrementAndGet() == failAt) {
            if (atFailure == null) {
                throw new IOException("injected failure of call " + failAt + ": " + what);
            }
            atFailure.run();
        }
    }

    @Override
    public CheckpointStateOutputStream createCheckpointStateOutputStream(CheckpointedStateScope scope) throws IOException {
        call("open");
        CheckpointStateOutputStream stream = inner.createCheckpointStateOutputStream(scope);
        return new CheckpointStateOutputStream() {
            @Override
            public StreamStateHandle closeAndGetHandle() throws IOException {
                call("closeAndGetHandle");
                return stream.closeAndGetHandle();
            }

            @Override
            public void close() throws IOException {
                stream.close();
            }

            @Override
            public long getPos() throws IOException {
                return stream.getPos();
            }

            @Override
            public void flush() throws IOException {
                stream.flush();
            }

            @Override
            public void sync() throws IOException {
                stream.sync();
            }

            @Override
            public void write(int b) throws IOException {
                stream.write(b);
            }

            @Override
            public void write(byte[] bytes, int offset, int length) throws IOException {
                call("write");
                stream.write(bytes, offset, length);
            }
        };
    }

    @Override
    public boolean canFastDuplicate(StreamStateHandle handle, CheckpointedStateScope scope) throws IOException {
        return inner.canFastDuplicate(handle, scope);
    }

    @Override
    public List<StreamStateHandle> duplicate(List<StreamStateHandle> handles, CheckpointedStateScope scope) throws IOException {
        return inner.duplicate(handles, scope);
    }

    @Override
    public void reusePreviousStateHandle(Collection<? extends StreamStateHandle> handles) {
        inner.reusePreviousStateHandle(handles);
    }

    @Override
    public boolean couldReuseStateHandle(StreamStateHandle handle) {
        return inner.couldReuseStateHandle(handle);
    }
}
