package io.headrace.slimbase.cold;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.suites.SuiteBackends;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** State of many times its memory: everything stays readable, of each kind; and what a disk that refuses does. */
class BeyondMemoryTest {
    private static final int KEY_GROUPS = 8;
    private static final long MEMORY_BYTES = 4 << 20;

    private final MockEnvironment environment = MockEnvironment.builder().setManagedMemorySize(MEMORY_BYTES).build();
    private AbstractKeyedStateBackend<Long> backend;

    @BeforeEach
    void open() throws Exception {
        backend = SuiteBackends.slimBaseOfLongs(environment, KEY_GROUPS);
    }

    @AfterEach
    void close() throws Exception {
        Path files = files();
        backend.close();
        backend.dispose();
        if (files != null) {
            assertThat(files).as("files of state after the end").doesNotExist();
        }
        environment.close();
    }

    private Path folder() {
        return environment.getIOManager().getSpillingDirectories()[0].toPath();
    }

    /** The backend's folder, if it has one. */
    private Path files() throws Exception {
        if (!Files.isDirectory(folder())) {
            return null;
        }
        try (Stream<Path> all = Files.list(folder())) {
            return all.filter(path -> path.getFileName().toString().startsWith("slimbase-")).findFirst().orElse(null);
        }
    }

    private <S extends State> S state(StateDescriptor<S, ?> descriptor) throws Exception {
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    private static String text(long key, int version) {
        return key + "." + version + "x".repeat((int) (key % 700));
    }

    /** 40 MB of values in 4 MB: written, overwritten unread, removed, read, walked. */
    @Test
    void valuesStay() throws Exception {
        ValueState<String> values = state(new ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
        int keys = 100_000;
        for (long key = 0; key < keys; key++) {
            backend.setCurrentKey(key);
            values.update(text(key, 0));
        }
        for (long key = 0; key < keys; key += 3) {
            backend.setCurrentKey(key);
            if (key % 2 == 0) {
                values.update(text(key, 1));
            } else {
                values.clear();
            }
        }
        assertThat(files()).as("folder with files").isNotEmptyDirectory();
        for (long key = 0; key < keys; key++) {
            backend.setCurrentKey(key);
            String expected = key % 6 == 0 ? text(key, 1) : key % 3 == 0 ? null : text(key, 0);
            assertThat(values.value()).isEqualTo(expected);
        }
        long walked = backend.getKeys("values", VoidNamespace.INSTANCE).distinct().count();
        assertThat(walked).isEqualTo(keys - (keys + 2) / 6);
    }

    /** Elements are added to lists whose beginning is in files, and lists come back whole. */
    @Test
    void listsStay() throws Exception {
        ListState<String> lists = state(new ListStateDescriptor<>("lists", StringSerializer.INSTANCE));
        for (int round = 0; round < 8; round++) {
            for (long key = 0; key < 10_000; key++) {
                backend.setCurrentKey(key);
                lists.add(text(key, round));
            }
        }
        for (long key = 0; key < 10_000; key += 7) {
            backend.setCurrentKey(key);
            List<String> expected = new ArrayList<>();
            for (int round = 0; round < 8; round++) {
                expected.add(text(key, round));
            }
            assertThat(lists.get()).containsExactlyElementsOf(expected);
        }
    }

    /** Maps with one page and with many. */
    @Test
    void mapsStay() throws Exception {
        MapState<Long, String> maps = state(new MapStateDescriptor<>("maps", LongSerializer.INSTANCE, StringSerializer.INSTANCE));
        for (long entry = 0; entry < 60; entry++) {
            for (long key = 0; key < 2_000; key++) {
                if (entry < 3 || key % 5 == 0) {
                    backend.setCurrentKey(key);
                    maps.put(entry, text(key, (int) entry));
                }
            }
        }
        for (long key = 0; key < 2_000; key++) {
            backend.setCurrentKey(key);
            maps.remove(1L);
        }
        for (long key = 0; key < 2_000; key += 3) {
            backend.setCurrentKey(key);
            Map<Long, String> expected = new TreeMap<>();
            for (long entry = 0; entry < (key % 5 == 0 ? 60 : 3); entry++) {
                if (entry != 1) {
                    expected.put(entry, text(key, (int) entry));
                }
            }
            Map<Long, String> seen = new TreeMap<>();
            maps.entries().forEach(each -> seen.put(each.getKey(), each.getValue()));
            assertThat(seen).isEqualTo(expected);
            assertThat(maps.get(0L)).isEqualTo(text(key, 0));
        }
    }

    /** A disk that takes nothing is one clear error; what was there is still there, and writing goes on when it takes files again. */
    @Test
    void refusingDiskIsSaidClearly() throws Exception {
        ValueState<String> values = state(new ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
        File folder = folder().toFile();
        assertThat(folder.delete()).isTrue();
        Files.createFile(folder.toPath());
        long[] written = new long[1];
        assertThatThrownBy(
                        () -> {
                            for (; written[0] < 100_000; written[0]++) {
                                backend.setCurrentKey(written[0]);
                                values.update(text(written[0], 0));
                            }
                        })
                .isInstanceOf(SlimBaseException.class)
                .hasMessageContaining("segment cannot be packed")
                .hasMessageContaining(folder.getName())
                .hasMessageContaining("io.tmp.dirs");
        assertThat(written[0]).isGreaterThan(3_000);
        Files.delete(folder.toPath());
        Files.createDirectories(folder.toPath());
        for (long key = written[0]; key < written[0] + 20_000; key++) {
            backend.setCurrentKey(key);
            values.update(text(key, 0));
        }
        for (long key = 0; key < written[0] + 20_000; key++) {
            backend.setCurrentKey(key);
            assertThat(values.value()).isEqualTo(text(key, 0));
        }
        List<Path> left = Files.list(files()).collect(Collectors.toList());
        assertThat(left).allMatch(path -> path.toString().endsWith(".slim"));
    }
}
