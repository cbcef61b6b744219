package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.registry.StateKind;
import java.io.EOFException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.runtime.state.KeyGroupRange;

/** What follows Flink's part of the meta stream; docs/concepts/slimbase-format.md, section Manifest. Immutable. */
final class Manifest {
    static final String TIMERS = "timers";

    private static final int MAGIC = 0x534C4D4D;
    /** Version 2 had no maps whose roots list removed keys. */
    private static final int VERSION = 3;
    /** Its rows do not say what a file's index takes. */
    private static final int VERSION_WITHOUT_INDEX = 1;
    private static final int STATE_LIMIT = 1024;
    private static final int FILE_LIMIT = 1 << 22;
    private static final int KEY_GROUP_LIMIT = 1 << 15;

    /** A state's row. */
    static final class State {
        final String name;
        final int stateId;
        final StateKind kind;
        final long ttlMs;

        State(String name, int stateId, StateKind kind, long ttlMs) {
            this.name = name;
            this.stateId = stateId;
            this.kind = kind;
            this.ttlMs = ttlMs;
        }
    }

    private final List<State> states;
    private final List<FileReference> files;

    Manifest(List<State> states, List<FileReference> files) {
        this.states = List.copyOf(states);
        this.files = List.copyOf(files);
    }

    List<State> states() {
        return states;
    }

    /** In the order in which they are applied. */
    List<FileReference> files() {
        return files;
    }

    void write(DataOutputView out) throws IOException {
        out.writeInt(MAGIC);
        out.writeInt(VERSION);
        out.writeInt(states.size());
        for (State state : states) {
            out.writeUTF(state.name);
            out.writeInt(state.stateId);
            out.writeByte(state.kind.code());
            out.writeLong(state.ttlMs);
        }
        out.writeInt(files.size());
        for (FileReference file : files) {
            out.writeUTF(file.name());
            out.writeLong(file.segmentNumber());
            out.writeLong(file.bytes());
            out.writeLong(file.indexBytes());
            out.writeInt(file.range().getStartKeyGroup());
            out.writeInt(file.range().getEndKeyGroup());
        }
    }

    /** Reads and checks; `source` is for messages. */
    static Manifest read(DataInputView in, String source) throws IOException {
        try {
            int magic = in.readInt();
            require(magic == MAGIC, "manifest is missing", source, String.format("magic=%08x", magic));
            int version = in.readInt();
            if (version > VERSION) {
                throw new SlimBaseException(
                        SlimBaseException.Kind.Unsupported,
                        "manifest is of a newer version, file=`" + source + "`, version=" + version + ", newest_known=" + VERSION,
                        "use the newer SlimBase that wrote it",
                        null);
            }
            require(version >= VERSION_WITHOUT_INDEX, "manifest's version does not fit", source, "version=" + version);
            return new Manifest(readStates(in, source), readFiles(in, version, source));
        } catch (EOFException e) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Corrupt, "manifest is cut off, file=`" + source + "`", "restore an older checkpoint", e);
        }
    }

    private static List<State> readStates(DataInputView in, String source) throws IOException {
        int count = in.readInt();
        require(count >= 0 && count <= STATE_LIMIT, "manifest's count of states does not fit", source, "states=" + count);
        List<State> states = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            String name = in.readUTF();
            int stateId = in.readInt();
            StateKind kind = StateKind.ofCode(in.readByte());
            long ttlMs = in.readLong();
            require(
                    stateId >= 0 && stateId < STATE_LIMIT && ttlMs >= 0,
                    "manifest's state does not fit",
                    source,
                    "state=`" + name + "`, state_id=" + stateId + ", ttl_ms=" + ttlMs);
            states.add(new State(name, stateId, kind, ttlMs));
        }
        return states;
    }

    private static List<FileReference> readFiles(DataInputView in, int version, String source) throws IOException {
        int count = in.readInt();
        require(count >= 0 && count <= FILE_LIMIT, "manifest's count of files does not fit", source, "files=" + count);
        List<FileReference> files = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String name = in.readUTF();
            long number = in.readLong();
            long bytes = in.readLong();
            long indexBytes = version == VERSION_WITHOUT_INDEX ? 0 : in.readLong();
            int first = in.readInt();
            int last = in.readInt();
            require(
                    bytes > 0 && indexBytes >= 0 && first >= 0 && last < KEY_GROUP_LIMIT && first <= last,
                    "manifest's file does not fit",
                    source,
                    "row=`" + name + "`, bytes=" + bytes + ", index_bytes=" + indexBytes + ", first_key_group=" + first + ", last_key_group=" + last);
            files.add(new FileReference(name, number, bytes, indexBytes, new KeyGroupRange(first, last)));
        }
        return files;
    }

    private static void require(boolean holds, String what, String source, String values) {
        if (!holds) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Corrupt,
                    what + ", file=`" + source + "`, " + values,
                    "restore an older checkpoint",
                    null);
        }
    }
}
