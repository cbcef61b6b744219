package io.headrace.slimbase.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.registry.StateKind;
import java.io.IOException;
import java.util.List;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.junit.jupiter.api.Test;

/** Manifests of each version are read, and what does not fit is refused with its row. */
class ManifestTest {
    private static final int MAGIC = 0x534C4D4D;

    private static Manifest read(DataOutputSerializer written) throws IOException {
        return Manifest.read(new DataInputDeserializer(written.getCopyOfBuffer()), "meta");
    }

    private static DataOutputSerializer begin(int version) throws IOException {
        DataOutputSerializer out = new DataOutputSerializer(64);
        out.writeInt(MAGIC);
        out.writeInt(version);
        out.writeInt(0);
        out.writeInt(1);
        out.writeUTF("one");
        out.writeLong(7);
        out.writeLong(1_000);
        return out;
    }

    private static void end(DataOutputSerializer out) throws IOException {
        out.writeInt(3);
        out.writeInt(9);
    }

    @Test
    void roundTrip() throws IOException {
        DataOutputSerializer out = new DataOutputSerializer(64);
        Manifest.State state = new Manifest.State("total", 2, StateKind.VALUE, 60_000);
        new Manifest(List.of(state), List.of(new FileReference("one", 7, 1_000, 90, new KeyGroupRange(3, 9)))).write(out);
        Manifest manifest = read(out);
        assertThat(manifest.states()).hasSize(1).first().usingRecursiveComparison().isEqualTo(state);
        FileReference file = manifest.files().get(0);
        assertThat(List.of(file.segmentNumber(), file.bytes(), file.indexBytes())).containsExactly(7L, 1_000L, 90L);
        assertThat(file.range()).isEqualTo(new KeyGroupRange(3, 9));
    }

    /** Its rows do not say what the index takes: the file is asked. */
    @Test
    void firstVersion() throws IOException {
        DataOutputSerializer out = begin(1);
        end(out);
        FileReference file = read(out).files().get(0);
        assertThat(file.bytes()).isEqualTo(1_000);
        assertThat(file.indexBytes()).isZero();
        assertThat(file.range()).isEqualTo(new KeyGroupRange(3, 9));
    }

    @Test
    void badRow() throws IOException {
        DataOutputSerializer out = begin(2);
        out.writeLong(-1);
        end(out);
        assertThatThrownBy(() -> read(out))
                .isInstanceOf(SlimBaseException.class)
                .hasMessageContaining("row=`one`")
                .hasMessageContaining("index_bytes=-1");
    }

    @Test
    void newerVersion() throws IOException {
        assertThatThrownBy(() -> read(begin(4))).hasMessageContaining("newer version").hasMessageContaining("version=4");
    }

    @Test
    void cutOff() throws IOException {
        assertThatThrownBy(() -> read(begin(2))).isInstanceOf(SlimBaseException.class).hasMessageContaining("cut off");
    }
}
