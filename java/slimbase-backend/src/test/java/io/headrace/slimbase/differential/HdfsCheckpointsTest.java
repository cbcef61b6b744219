package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.headrace.slimbase.engine.SlimBaseException;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.util.ExceptionUtils;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints on HDFS: a NameNode and two DataNodes, each block on both, which are stopped while a job reads from them. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class HdfsCheckpointsTest {
    private static final long SEED = 20_261_126;
    private static final int DATA_NODES = 2;
    private static final String READ_LIMIT = "dfs.datanode.data.read.bandwidthPerSec";
    private static final long READ_BYTES_PER_S = 1 << 20;

    @TempDir static Path folder;
    private static MiniDFSCluster cluster;
    private static int jobs;

    private final ExecutorService beside = Executors.newSingleThreadExecutor();
    private FarJob job;

    @BeforeAll
    static void startCluster() throws Exception {
        HdfsConfiguration config = new HdfsConfiguration();
        config.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, folder.toString());
        config.setInt("dfs.replication", DATA_NODES);
        // Slow enough that the job still reads from the checkpoint when a DataNode stops.
        config.setLong(READ_LIMIT, READ_BYTES_PER_S);
        cluster = new MiniDFSCluster.Builder(config).numDataNodes(DATA_NODES).build();
        cluster.waitActive();
        Configuration flink = new Configuration();
        // The client waits less between its own tries than it does by default, so that a failure reaches us.
        flink.setString("flink.hadoop.dfs.client.retry.window.base", "50");
        flink.setString("flink.hadoop.dfs.client.max.block.acquire.failures", "1");
        flink.setString("flink.hadoop.dfs.replication", Integer.toString(DATA_NODES));
        flink.setString("flink.hadoop.dfs.client.block.write.replace-datanode-on-failure.policy", "NEVER");
        FileSystem.initialize(flink, null);
    }

    @AfterAll
    static void stopCluster() {
        FileSystem.initialize(new Configuration(), null);
        cluster.shutdown();
    }

    @BeforeEach
    void start() throws Exception {
        job = new FarJob("hdfs://localhost:" + cluster.getNameNodePort() + "/job-" + jobs++, SEED);
        job.fill();
    }

    @AfterEach
    void stop() throws Exception {
        beside.shutdownNow();
        job.close();
    }

    /** DataNodes give as fast as they can from here on. */
    private static void liftReadLimit() throws Exception {
        for (DataNode node : cluster.getDataNodes()) {
            node.reconfigureProperty(READ_LIMIT, "0");
        }
    }

    /** Checkpoints share files; a DataNode that stops while lookups read changes nothing; the NameNode restarts. */
    @Test
    @Order(1)
    void aDataNodeStops() throws Exception {
        job.checkpoint();
        job.change(FarJob.KEYS / 20);
        assertThat(job.checkpoint()).as("files that two checkpoints share").isNotEmpty();
        job.restore(3);
        long fetches = job.gauge("rangeFetches");
        // It takes seconds to stop, since it reads to the end what it has begun.
        Future<?> stopping = beside.submit(() -> cluster.stopDataNode(0));
        job.verify("a DataNode stops", FarJob.KEYS / 200);
        stopping.get();
        job.verify("a DataNode less", FarJob.KEYS / 200);
        assertThat(job.gauge("rangeFetches")).as("ranges fetched since").isGreaterThan(fetches);
        assertThat(job.gauge("restoredFilesLeft")).as("files not yet copied").isPositive();
        liftReadLimit();
        job.verify("a DataNode less");
        job.change(FarJob.KEYS / 20);
        cluster.restartNameNode();
        assertThat(job.checkpoint()).as("files shared over a restore").isNotEmpty();
        job.restore(1);
        job.verify("restored with 1");
    }

    /** With no DataNode left what a restored job reads is Unavailable, with the file, where it is and the position. */
    @Test
    @Order(2)
    void noDataNodeIsLeft() throws Exception {
        job.checkpoint();
        Set<String> files = job.files();
        cluster.shutdownDataNodes();
        Throwable thrown = catchThrowable(
                        () -> {
                            job.restore(2);
                            job.verify("without DataNodes");
                        });
        SlimBaseException e =
                ExceptionUtils.findThrowable(thrown, SlimBaseException.class)
                        .orElseThrow(() -> new AssertionError("no SlimBaseException, but " + thrown, thrown));
        assertThat(e.kind()).isEqualTo(SlimBaseException.Kind.Unavailable);
        assertThat(e.getMessage()).contains("position=").contains("tries=").contains("hint: ");
        assertThat(files).anySatisfy(file -> assertThat(e.getMessage()).contains(file));
    }
}
