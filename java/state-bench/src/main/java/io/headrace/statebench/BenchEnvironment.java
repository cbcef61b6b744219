package io.headrace.statebench;

import java.io.File;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadFactory;
import org.apache.flink.api.common.ExecutionConfig;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobInfoImpl;
import org.apache.flink.api.common.TaskInfoImpl;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.io.disk.iomanager.IOManagerAsync;
import org.apache.flink.runtime.jobgraph.JobVertexID;
import org.apache.flink.runtime.memory.MemoryManager;
import org.apache.flink.runtime.memory.SharedResources;
import org.apache.flink.runtime.metrics.groups.UnregisteredMetricGroups;
import org.apache.flink.runtime.query.KvStateRegistry;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.TaskStateManager;
import org.apache.flink.runtime.taskmanager.TaskManagerRuntimeInfo;
import org.apache.flink.util.SimpleUserCodeClassLoader;

/**
 * A task's environment for a backend that runs without a task.
 *
 * <p>Only what backends ask for is answered; any other call fails with its name, so that a backend that needs more shows
 * it at once. Dynamic proxies instead of Flink's test mocks: those are not in the distribution that is measured.
 */
final class BenchEnvironment {

    private static final int ASYNC_THREADS = 2;

    private BenchEnvironment() {}

    /** An environment with this configuration, folder for local files, and managed memory of the slot. */
    static Environment create(Configuration configuration, File folder, long managedBytes) {
        JobID job = new JobID();
        JobVertexID vertex = new JobVertexID();
        MemoryManager memory = MemoryManager.create(managedBytes, MemoryManager.DEFAULT_PAGE_SIZE);
        ClassLoader loader = BenchEnvironment.class.getClassLoader();
        Map<String, Object> answers = new HashMap<>();
        answers.put("getExecutionConfig", new ExecutionConfig());
        answers.put("getJobID", job);
        answers.put("getJobVertexId", vertex);
        answers.put("getJobInfo", new JobInfoImpl(job, "bench"));
        answers.put("getTaskInfo", new TaskInfoImpl("bench", BackendUnderTest.KEY_GROUPS, 0, 1, 0, "bench"));
        answers.put("getTaskConfiguration", configuration);
        answers.put("getJobConfiguration", configuration);
        answers.put("getTaskManagerInfo", taskManager(configuration, folder));
        answers.put("getMetricGroup", UnregisteredMetricGroups.createUnregisteredTaskMetricGroup());
        answers.put("getIOManager", new IOManagerAsync(folder.getPath()));
        answers.put("getMemoryManager", memory);
        answers.put("getSharedResources", new SharedResources());
        answers.put("getUserCodeClassLoader", SimpleUserCodeClassLoader.create(loader));
        answers.put("getTaskStateManager", taskState());
        answers.put("getTaskKvStateRegistry", new KvStateRegistry().createTaskRegistry(job, vertex));
        answers.put("getCheckpointStorageAccess", null);
        answers.put("getAsyncOperationsThreadPool", Executors.newFixedThreadPool(ASYNC_THREADS, daemons()));
        return proxy(Environment.class, answers);
    }

    private static ThreadFactory daemons() {
        return work -> {
            Thread thread = new Thread(work, "async-operations");
            thread.setDaemon(true);
            return thread;
        };
    }

    private static TaskManagerRuntimeInfo taskManager(Configuration configuration, File folder) {
        Map<String, Object> answers = new HashMap<>();
        answers.put("getConfiguration", configuration);
        answers.put("getTmpDirectories", new String[] {folder.getPath()});
        answers.put("getTmpWorkingDirectory", folder);
        answers.put("getTaskManagerExternalAddress", "localhost");
        answers.put("getTaskManagerBindAddress", "localhost");
        answers.put("shouldExitJvmOnOutOfMemoryError", false);
        return proxy(TaskManagerRuntimeInfo.class, answers);
    }

    private static TaskStateManager taskState() {
        Map<String, Object> answers = new HashMap<>();
        answers.put("createLocalRecoveryConfig", LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
        answers.put("getFileMergingSnapshotManager", null);
        answers.put("getRestoreCheckpointId", Optional.empty());
        answers.put("isTaskDeployedAsFinished", false);
        return proxy(TaskStateManager.class, answers);
    }

    private static <T> T proxy(Class<T> face, Map<String, Object> answers) {
        InvocationHandler handler = (self, method, arguments) -> {
            if (method.getDeclaringClass() == Object.class) {
                return ofObject(self, method, arguments);
            }
            if (answers.containsKey(method.getName())) {
                return answers.get(method.getName());
            }
            throw new UnsupportedOperationException(face.getSimpleName() + "." + method.getName());
        };
        return face.cast(Proxy.newProxyInstance(face.getClassLoader(), new Class<?>[] {face}, handler));
    }

    private static Object ofObject(Object self, Method method, Object[] arguments) {
        switch (method.getName()) {
            case "equals":
                return self == arguments[0];
            case "hashCode":
                return System.identityHashCode(self);
            default:
                return "bench";
        }
    }
}
