package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.registry.BackendContext;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalLocalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SavepointKeyedStateHandle;

/** Fills a new backend from what Flink hands it: our own checkpoints and native savepoints, or canonical savepoints of any backend. */
public final class SlimRestore {
    private SlimRestore() {}

    /**
     * Restores.
     *
     * @param handles all of one sort; none for a new backend
     * @throws SlimBaseException Corrupt when a file is missing or wrong; Unsupported for handles of other backends
     * @throws org.apache.flink.util.StateMigrationException when the key serializer does not fit
     */
    public static <K> RestoredState restore(BackendContext<K> context, Collection<KeyedStateHandle> handles) throws Exception {
        RestoredState restored = new RestoredState();
        List<KeyedStateHandle> present = handles.stream().filter(Objects::nonNull).collect(Collectors.toList());
        if (present.isEmpty()) {
            return restored;
        }
        if (present.stream().allMatch(SavepointKeyedStateHandle.class::isInstance)) {
            new SavepointRestore<>(context).restore(present);
            return restored;
        }
        List<IncrementalKeyedStateHandle> own =
                present.stream().map(SlimRestore::own).collect(Collectors.toList());
        new IncrementalRestore<>(context, restored).restore(own);
        return restored;
    }

    private static IncrementalKeyedStateHandle own(KeyedStateHandle handle) {
        if (handle instanceof IncrementalRemoteKeyedStateHandle || handle instanceof IncrementalLocalKeyedStateHandle) {
            return (IncrementalKeyedStateHandle) handle;
        }
        throw new SlimBaseException(
                SlimBaseException.Kind.Unsupported,
                "checkpoint is not of slimbase, handle=`" + handle.getClass().getName() + "`",
                "switch from another state backend through a savepoint in canonical format",
                null);
    }
}
