package io.headrace.statebench;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Waits for the background work of RocksDB, ForSt and others, so that reads are not measured against a store in flight.
 *
 * <p>Reflection, because the two stores have the same methods in different packages, and neither is on the class path
 * that this module is compiled against. With backends without a field `db` it waits until the process computes nothing any more.
 */
final class Settling {

    private static final long SETTLE_MS_MAX = 180_000;
    private static final long POLL_MS = 100;
    /** Of a core: more is work, less is the JVM's own house-keeping. */
    private static final double BUSY_SHARE = 0.2;
    /** Polls in a row that must find nothing to do: a flush starts its compaction a moment later. */
    private static final int CALM_POLLS = 5;

    private static final List<String> PENDING = List.of(
            "rocksdb.num-running-flushes",
            "rocksdb.num-running-compactions",
            "rocksdb.mem-table-flush-pending",
            "rocksdb.compaction-pending");

    private Settling() {}

    static void await(Object backend) throws Exception {
        Object store = store(backend.getClass(), backend);
        if (store == null) {
            awaitIdle();
            return;
        }
        List<?> families = families(backend);
        long deadline = System.nanoTime() + SETTLE_MS_MAX * 1_000_000;
        int calm = 0;
        while (calm < CALM_POLLS && System.nanoTime() < deadline) {
            calm = isBusy(store, families) ? 0 : calm + 1;
            Thread.sleep(POLL_MS);
        }
    }

    /** Others are not asked but watched: this thread waits, so whoever computes is the background. */
    private static void awaitIdle() throws InterruptedException {
        OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long deadline = System.nanoTime() + SETTLE_MS_MAX * 1_000_000;
        long cpu = process.getProcessCpuTime();
        int calm = 0;
        while (calm < CALM_POLLS && System.nanoTime() < deadline) {
            Thread.sleep(POLL_MS);
            long now = process.getProcessCpuTime();
            calm = now - cpu > BUSY_SHARE * POLL_MS * 1_000_000 ? 0 : calm + 1;
            cpu = now;
        }
    }

    private static Object store(Class<?> type, Object backend) throws IllegalAccessException {
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                if (field.getName().equals("db") && field.getType().getSimpleName().equals("RocksDB")) {
                    field.setAccessible(true);
                    return field.get(backend);
                }
            }
        }
        return null;
    }

    /** Column family handles: each state has one, and pending work is counted for each. */
    private static List<?> families(Object backend) throws Exception {
        Field known = backend.getClass().getDeclaredField("kvStateInformation");
        known.setAccessible(true);
        List<Object> handles = new ArrayList<>();
        for (Object state : ((Map<?, ?>) known.get(backend)).values()) {
            for (Field field : state.getClass().getDeclaredFields()) {
                if (field.getType().getSimpleName().equals("ColumnFamilyHandle")) {
                    field.setAccessible(true);
                    handles.add(field.get(state));
                }
            }
        }
        return handles;
    }

    private static boolean isBusy(Object store, List<?> families) throws Exception {
        for (Object family : families) {
            Method read = store.getClass().getMethod("getProperty", family.getClass(), String.class);
            for (String name : PENDING) {
                if (!"0".equals(read.invoke(store, family, name))) {
                    return true;
                }
            }
        }
        return false;
    }
}
