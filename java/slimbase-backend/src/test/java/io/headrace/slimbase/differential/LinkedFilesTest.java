package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LinkedFilesTest {
    private static final long SEED = 20_261_126;

    @TempDir Path folder;

    /** Files of a restored checkpoint on this machine are linked, not copied, and stay when the checkpoint goes. */
    @Test
    void restoredFilesAreLinked() throws Exception {
        try (FarJob job = new FarJob(folder.toUri().toString(), SEED)) {
            job.fill();
            job.checkpoint();
            job.restore(2);
            Waiting.until("all files are here", () -> job.gauge("restoredFilesLeft") == 0);
            // Of the checkpoint and of the subtask; a small file lies in the checkpoint's handle itself.
            assertThat(job.files()).isNotEmpty().allSatisfy(file -> assertThat(names(file)).isEqualTo(2));
            job.deleteFiles();
            job.verify("without its checkpoint");
            job.change(FarJob.KEYS / 20);
            job.verify("and changed");
        }
    }

    private static int names(String file) throws Exception {
        return (int) Files.getAttribute(Path.of(URI.create(file)), "unix:nlink");
    }
}
