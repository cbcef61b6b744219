package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.file.SteadyOutput;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointStreamWithResultProvider;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.DirectoryStateHandle;
import org.apache.flink.runtime.state.LocalSnapshotDirectoryProvider;
import org.apache.flink.util.FileUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A local copy in a directory. Its failures never fail the checkpoint: the copy is then left out.
 */
final class DirectorySnapshot extends LocalSnapshot {
    private static final Logger LOG = LoggerFactory.getLogger(DirectorySnapshot.class);

    private final LocalFiles files;
    private final LocalSnapshotDirectoryProvider directories;
    private final long checkpointId;
    private final Path directory;
    private final Set<String> names = ConcurrentHashMap.newKeySet();
    private volatile boolean broken;
    private boolean completed;

    DirectorySnapshot(LocalFiles files, LocalSnapshotDirectoryProvider directories, long checkpointId, Path directory) {
        this.files = files;
        this.directories = directories;
        this.checkpointId = checkpointId;
        this.directory = directory;
    }

    private void giveUp(String name, IOException cause) {
        broken = true;
        LOG.warn("checkpoint goes without a local copy, checkpoint_id={}, file=`{}`", checkpointId, name, cause);
    }

    @Override
    Copy copy(String name, OutputStream primary) {
        if (broken) {
            return new Copy(primary);
        }
        try {
            return new DirectoryCopy(name, primary, SteadyOutput.to(directory.resolve(name)));
        } catch (IOException e) {
            giveUp(name, e);
            return new Copy(primary);
        }
    }

    private final class DirectoryCopy extends Copy {
        private final String name;
        private final OutputStream secondary;
        private boolean finished;

        DirectoryCopy(String name, OutputStream primary, OutputStream secondary) {
            super(primary);
            this.name = name;
            this.secondary = secondary;
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            super.write(bytes, offset, length);
            if (!broken) {
                try {
                    secondary.write(bytes, offset, length);
                } catch (IOException e) {
                    giveUp(name, e);
                }
            }
        }

        @Override
        void finish() {
            finished = true;
        }

        @Override
        public void close() {
            try {
                secondary.close();
                if (finished && !broken) {
                    keep(name);
                }
            } catch (IOException e) {
                giveUp(name, e);
            }
        }
    }

    private void keep(String name) throws IOException {
        names.add(name);
        if (!name.equals(Manifest.TIMERS)) {
            files.add(name, directory.resolve(name));
        }
    }

    @Override
    void linkOrWrite(String name, Uploader.Content content) {
        if (broken) {
            return;
        }
        Path file = directory.resolve(name);
        try {
            if (files.linkTo(name, file)) {
                names.add(name);
                return;
            }
            try (OutputStream out = SteadyOutput.to(file)) {
                content.write(out);
            }
            keep(name);
        } catch (IOException e) {
            giveUp(name, e);
        }
    }

    @Override
    CheckpointStreamWithResultProvider metaStream(CheckpointStreamFactory streams) throws IOException {
        return CheckpointStreamWithResultProvider.createDuplicatingStream(
                checkpointId, CheckpointedStateScope.EXCLUSIVE, streams, directories);
    }

    @Override
    DirectoryStateHandle complete() {
        if (broken) {
            return null;
        }
        try {
            files.retain(names);
            DirectoryStateHandle handle = DirectoryStateHandle.forPathWithSize(directory);
            completed = true;
            return handle;
        } catch (IOException e) {
            giveUp("*", e);
            return null;
        }
    }

    @Override
    public void close() {
        if (!completed) {
            FileUtils.deleteDirectoryQuietly(directory.toFile());
        }
    }
}
