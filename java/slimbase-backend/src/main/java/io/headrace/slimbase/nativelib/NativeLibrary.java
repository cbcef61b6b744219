package io.headrace.slimbase.nativelib;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads the native library from the jar, once for each class loader.
 *
 * <p>A JVM binds a library file to one class loader for good, but a job that restarts in the same TaskManager brings a new one for its jar
 * (FLINK-5408). So the library is copied to a file of its own name each time, loaded, and the file is deleted again: the mapping stays. When
 * anything fails, the reason is logged and SlimBase goes on in pure Java.
 */
public final class NativeLibrary {
    /** What {@link NativeSlim#abi()} must answer. */
    public static final int ABI = 2;

    private static final Logger LOG = LoggerFactory.getLogger(NativeLibrary.class);
    private static final String RESOURCE = "/native/linux-x86_64/libslimbase_jni.so";
    /** `-Dheadrace.slimbase.native=false` keeps to pure Java. */
    private static final String SWITCH = "headrace.slimbase.native";

    private static final boolean AVAILABLE = load();

    private NativeLibrary() {}

    /** Whether {@link NativeSlim} may be called. */
    public static boolean isAvailable() {
        return AVAILABLE;
    }

    private static boolean load() {
        String reason = reasonAgainst();
        if (reason == null) {
            LOG.info("native library loaded, resource=`{}`, abi={}", RESOURCE, ABI);
            return true;
        }
        LOG.info("native library not used, reason=`{}`; going on in pure Java", reason);
        return false;
    }

    private static String reasonAgainst() {
        if (!Boolean.parseBoolean(System.getProperty(SWITCH, "true"))) {
            return "switched off by -D" + SWITCH;
        }
        if (!"Linux".equals(System.getProperty("os.name")) || !"amd64".equals(System.getProperty("os.arch"))) {
            return "no library for " + System.getProperty("os.name") + " on " + System.getProperty("os.arch");
        }
        try (InputStream library = NativeLibrary.class.getResourceAsStream(RESOURCE)) {
            if (library == null) {
                return "the jar has no " + RESOURCE;
            }
            loadCopy(library);
            int abi = NativeSlim.abi();
            return abi == ABI ? null : "abi is " + abi + " but " + ABI + " is wanted";
        } catch (IOException | UnsatisfiedLinkError e) {
            return e.toString();
        }
    }

    private static void loadCopy(InputStream library) throws IOException {
        Path copy = Files.createTempFile("libslimbase_jni-" + ProcessHandle.current().pid() + "-", ".so");
        try {
            try (java.io.OutputStream out = Files.newOutputStream(copy)) {
                library.transferTo(out);
            }
            System.load(copy.toAbsolutePath().toString());
        } finally {
            Files.deleteIfExists(copy);
        }
    }
}
