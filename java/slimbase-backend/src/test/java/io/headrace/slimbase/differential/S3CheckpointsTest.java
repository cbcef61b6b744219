package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.suites.SuiteBackends;
import java.io.File;
import java.net.URI;
import java.net.URL;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.CoreOptions;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.plugin.DefaultPluginManager;
import org.apache.flink.core.plugin.PluginDescriptor;
import org.apache.flink.util.ExceptionUtils;
import org.gaul.s3proxy.AuthenticationType;
import org.gaul.s3proxy.S3Proxy;
import org.gaul.s3proxy.nio2blob.FilesystemNio2BlobProviderMetadata;
import org.jclouds.ContextBuilder;
import org.jclouds.blobstore.BlobStoreContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints on S3, through Flink's own client, with a store that is slow, throttles, fails, cuts off and lies. */
class S3CheckpointsTest {
    private static final long SEED = 20_261_125;
    private static final String BUCKET = "checkpoints";

    @TempDir static Path folder;
    private static BlobStoreContext blobs;
    private static S3Proxy store;
    private static FaultyHttp network;
    private static int jobs;

    private FarJob job;

    @BeforeAll
    static void startStore() throws Exception {
        Properties properties = new Properties();
        properties.setProperty("jclouds.filesystem.basedir", folder.toString());
        blobs =
                ContextBuilder.newBuilder(new FilesystemNio2BlobProviderMetadata())
                        .credentials("id", "secret")
                        .overrides(properties)
                        .build(BlobStoreContext.class);
        blobs.getBlobStore().createContainerInLocation(null, BUCKET);
        store =
                S3Proxy.builder()
                        .blobStore(blobs.getBlobStore())
                        .awsAuthentication(AuthenticationType.NONE, null, null)
                        .endpoint(URI.create("http://127.0.0.1:0"))
                        .build();
        store.start();
        network = new FaultyHttp(URI.create("http://127.0.0.1:" + store.getPort()), SEED);
        initializeFlink();
    }

    /** Loads Flink's S3 client as a TaskManager does. It tries less often on its own than it does by default, so that what is left over reaches us. */
    private static void initializeFlink() throws Exception {
        Configuration config = new Configuration();
        config.setString("s3.endpoint", network.uri().toString());
        config.setString("s3.path.style.access", "true");
        config.setString("s3.access-key", "id");
        config.setString("s3.secret-key", "secret");
        config.setString("s3.ssl.enabled", "false");
        config.setString("s3.max-error-retries", "2");
        config.setString("s3.max-client-retries", "1");
        config.setString("s3.max-backoff-time", "50ms");
        config.setString("s3.max-retry-time", "1s");
        File[] jars = new File(System.getProperty("flink.s3.plugin")).listFiles();
        assertThat(jars).hasSize(1);
        PluginDescriptor plugin = new PluginDescriptor("s3", new URL[] {jars[0].toURI().toURL()}, new String[0]);
        FileSystem.initialize(
                config, new DefaultPluginManager(List.of(plugin), CoreOptions.getPluginParentFirstLoaderPatterns(config)));
    }

    @AfterAll
    static void stopStore() throws Exception {
        FileSystem.initialize(new Configuration(), null);
        network.close();
        store.stop();
        blobs.close();
    }

    @BeforeEach
    void start() throws Exception {
        calm();
        job = new FarJob("s3://" + BUCKET + "/job-" + jobs++, SEED);
        job.fill();
    }

    @AfterEach
    void stop() throws Exception {
        calm();
        job.close();
    }

    private static void calm() {
        network.latencyMs = 0;
        network.errorShare = 0;
        network.isDown = false;
        network.isWrong = false;
        network.bytesPerSecond(0);
    }

    /** With a tenth of requests failing and a tenth of bodies cut off: checkpoints share files, restores at other parallelisms find what was there. */
    @Test
    void faultsNeverGiveWrongState() throws Exception {
        network.latencyMs = 5;
        network.errorShare = 0.1;
        job.checkpoint();
        job.change(FarJob.KEYS / 20);
        assertThat(job.checkpoint()).as("files that two checkpoints share").isNotEmpty();
        network.bytesPerSecond(2e6);
        job.restore(3);
        assertThat(job.gauge("restoredFilesLeft")).isPositive();
        job.verify("restored with 3", FarJob.KEYS / 4);
        assertThat(job.gauge("rangeFetches")).as("ranges fetched").isPositive();
        network.bytesPerSecond(0);
        job.verify("restored with 3, all");
        job.change(FarJob.KEYS / 20);
        assertThat(job.checkpoint()).as("files shared over a restore").isNotEmpty();
        job.restore(1);
        job.verify("restored with 1");
        assertThat(network.faults.get()).as("faults injected").isGreaterThan(10);
    }

    /** A store that stays down is Unavailable, with file, place and position; once it answers again, the same job reads on and makes up for the copies. */
    @Test
    void storeThatStaysDown() throws Exception {
        Set<String> files = files();
        network.bytesPerSecond(500e3);
        job.restore(2);
        network.isDown = true;
        SlimBaseException e = failureOf(() -> job.verify("down"));
        assertThat(e.kind()).isEqualTo(SlimBaseException.Kind.Unavailable);
        assertThat(e.getMessage()).contains("position=").contains("tries=").contains("hint: ");
        assertThat(files).anySatisfy(file -> assertThat(e.getMessage()).contains(file));
        network.isDown = false;
        network.bytesPerSecond(0);
        job.verify("up again");
        Waiting.until("what could not be copied is copied", () -> job.gauge("restoredFilesLeft") == 0);
        job.deleteFiles();
        job.verify("without its checkpoint");
    }

    /** Wrong bytes are Corrupt, with file and block, not wrong state. */
    @Test
    void storeThatLies() throws Exception {
        Set<String> files = files();
        network.bytesPerSecond(2e6);
        network.isWrong = true;
        SlimBaseException e = failureOf(() -> {
            job.restore(2);
            job.verify("lies");
        });
        assertThat(e.kind()).isEqualTo(SlimBaseException.Kind.Corrupt);
        assertThat(e.getMessage()).contains("block=");
        assertThat(files).anySatisfy(file -> assertThat(e.getMessage()).contains(file));
    }

    /**
     * Files stay in the checkpoint storage: once checkpoints have them all, none is on this machine, before and after a restore; what is written is here
     * until the next one has it.
     */
    @Test
    void filesStayInCheckpoints() throws Exception {
        job.close();
        job =
                new FarJob(
                        "s3://" + BUCKET + "/job-" + jobs++,
                        SEED,
                        SuiteBackends.leavingFilesInCheckpoints(MemorySize.ofMebiBytes(64)));
        job.fill();
        assertThat(job.localFiles()).isNotEmpty();
        checkpointUntilNothingIsHere();
        network.latencyMs = 2;
        network.errorShare = 0.02;
        job.verify("left in checkpoints", FarJob.KEYS / 4);
        assertThat(job.gauge("rangeFetches")).as("ranges fetched").isPositive();
        job.change(FarJob.KEYS / 4);
        job.verify("some here, some there", FarJob.KEYS / 4);
        checkpointUntilNothingIsHere();
        job.restore(3);
        assertThat(job.gauge("restoredFilesLeft")).isZero();
        job.verify("restored with 3");
        assertThat(job.localFiles()).isEmpty();
        job.change(FarJob.KEYS / 20);
        assertThat(job.checkpoint()).as("files shared over a restore").isNotEmpty();
        job.restore(1);
        job.verify("restored with 1");
    }

    private void checkpointUntilNothingIsHere() throws Exception {
        Waiting.until(
                "all files are in a completed checkpoint, and merging has ended",
                () -> {
                    job.verify("between checkpoints", 50);
                    job.checkpoint();
                    return job.localFiles().isEmpty();
                });
    }

    /** A restore without claim: once all files are copied, the checkpoint may go. */
    @Test
    void checkpointGoesAfterTheCopy() throws Exception {
        job.checkpoint();
        network.latencyMs = 2;
        job.restore(3);
        Waiting.until("all files are copied", () -> job.gauge("restoredFilesLeft") == 0);
        job.deleteFiles();
        network.isDown = true;
        job.verify("without its checkpoint");
    }

    /** A file that is gone is Corrupt when the restored job reads it. */
    @Test
    void missingFile() throws Exception {
        job.checkpoint();
        job.deleteFiles();
        SlimBaseException e =
                failureOf(
                        () -> {
                            job.restore(2);
                            job.verify("files are gone");
                        });
        assertThat(e.kind()).isEqualTo(SlimBaseException.Kind.Corrupt);
        assertThat(e.getMessage()).contains("file is missing");
    }

    private Set<String> files() throws Exception {
        job.checkpoint();
        return job.files();
    }

    private static SlimBaseException failureOf(org.assertj.core.api.ThrowableAssert.ThrowingCallable call) {
        Throwable thrown = catchThrowable(call);
        return ExceptionUtils.findThrowable(thrown, SlimBaseException.class)
                .orElseThrow(() -> new AssertionError("no SlimBaseException, but " + thrown, thrown));
    }
}
