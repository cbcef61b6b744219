package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FileSystem;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.hdfs.server.namenode.ha.HATestUtil;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints on HDFS with two NameNodes that share their edits: one NameNode dies and the other takes over while the job reads or writes. */
class HdfsFailoverTest {
    private static final long SEED = 20_261_126;
    private static final String READ_LIMIT = "dfs.datanode.data.read.bandwidthPerSec";
    /** Slow enough that the job still reads from the checkpoint when the NameNode dies. */
    private static final String READ_BYTES_PER_S = Long.toString(1 << 20);

    @TempDir static Path folder;
    private static MiniDFSCluster cluster;
    private static int active;
    private static int jobs;

    private final ExecutorService beside = Executors.newSingleThreadExecutor();
    private FarJob job;

    @BeforeAll
    static void startCluster() throws Exception {
        HdfsConfiguration config = new HdfsConfiguration();
        config.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, folder.toString());
        config.setInt("dfs.replication", 1);
        config.setInt("dfs.ha.tail-edits.period", 1);
        cluster = new MiniDFSCluster.Builder(config).nnTopology(MiniDFSNNTopology.simpleHATopology()).numDataNodes(1).build();
        cluster.waitActive();
        cluster.transitionToActive(active);
        HdfsConfiguration client = new HdfsConfiguration();
        HATestUtil.setFailoverConfigurations(cluster, client, "state");
        Configuration flink = new Configuration();
        for (var entry : client) {
            if (entry.getKey().startsWith("dfs.nameservices")
                    || entry.getKey().startsWith("dfs.ha.namenodes.")
                    || entry.getKey().startsWith("dfs.namenode.rpc-address.")
                    || entry.getKey().startsWith("dfs.client.failover.proxy.provider.")) {
                flink.setString("flink.hadoop." + entry.getKey(), entry.getValue());
            }
        }
        flink.setString("flink.hadoop.dfs.replication", "1");
        // The client waits less between its tries than by default: up to 15 s.
        flink.setString("flink.hadoop.dfs.client.failover.sleep.base.millis", "50");
        flink.setString("flink.hadoop.dfs.client.failover.sleep.max.millis", "500");
        FileSystem.initialize(flink, null);
    }

    @AfterAll
    static void stopCluster() throws Exception {
        FileSystem.initialize(new Configuration(), null);
        cluster.shutdown();
    }

    @BeforeEach
    void start() throws Exception {
        job = new FarJob("hdfs://state/job-" + jobs++, SEED);
        job.fill();
    }

    @AfterEach
    void stop() throws Exception {
        beside.shutdownNow();
        job.close();
    }

    private Future<?> failOverBeside() {
        return beside.submit(
                () -> {
                    failOver();
                    return null;
                });
    }

    private static void limitReads(String bytesPerSecond) throws Exception {
        cluster.getDataNodes().get(0).reconfigureProperty(READ_LIMIT, bytesPerSecond);
    }

    /** The active NameNode dies; the other one takes over after a while in which there is none; the dead one comes back as standby. */
    private static void failOver() throws Exception {
        cluster.shutdownNameNode(active);
        int next = 1 - active;
        cluster.transitionToActive(next);
        cluster.restartNameNode(active, false);
        active = next;
        cluster.waitActive(next);
    }

    /** While lookups read ranges of a restored checkpoint and its files are copied. */
    @Test
    void whileTheJobReads() throws Exception {
        job.checkpoint();
        job.change(FarJob.KEYS / 20);
        assertThat(job.checkpoint()).as("files that two checkpoints share").isNotEmpty();
        limitReads(READ_BYTES_PER_S);
        job.restore(3);
        assertThat(job.gauge("restoredFilesLeft")).as("files not yet copied").isPositive();
        CountDownLatch reads = new CountDownLatch(1);
        Future<?> failover =
                beside.submit(
                        () -> {
                            reads.await();
                            failOver();
                            return null;
                        });
        int before = active;
        for (int round = 0; !failover.isDone() || round < 2; round++) {
            reads.countDown();
            job.verify("fails over, round " + round, FarJob.KEYS / 100);
        }
        failover.get();
        assertThat(active).isNotEqualTo(before);
        limitReads("0");
        job.verify("failed over", FarJob.KEYS / 4);
        job.change(FarJob.KEYS / 20);
        assertThat(job.checkpoint()).as("files shared over the failover").isNotEmpty();
        job.restore(1);
        job.verify("restored with 1", FarJob.KEYS / 4);
    }

    /** While a checkpoint is written, and while a job is restored. */
    @Test
    void whileTheJobWrites() throws Exception {
        job.checkpoint();
        job.change(FarJob.KEYS / 4);
        Future<?> failover = failOverBeside();
        for (int written = 0; !failover.isDone() || written == 0; written++) {
            job.change(FarJob.KEYS / 50);
            job.checkpoint();
        }
        failover.get();
        Future<?> again = failOverBeside();
        job.restore(2);
        again.get();
        job.verify("restored while it failed over", FarJob.KEYS / 4);
    }
}
