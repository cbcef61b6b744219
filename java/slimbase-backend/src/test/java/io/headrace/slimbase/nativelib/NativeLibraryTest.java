package io.headrace.slimbase.nativelib;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class NativeLibraryTest {
    private static URL[] classPath() {
        return Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .map(
                        entry -> {
                            try {
                                return Path.of(entry).toUri().toURL();
                            } catch (java.net.MalformedURLException e) {
                                throw new IllegalStateException(e);
                            }
                        })
                .toArray(URL[]::new);
    }

    /** A job that restarts in the same TaskManager has a new class loader, and loads the library again (FLINK-5408). */
    @Test
    void loadsInTwoClassLoaders() throws Exception {
        assumeTrue(NativeLibrary.isAvailable(), "no native library in this build");
        try (URLClassLoader first = new URLClassLoader(classPath(), ClassLoader.getPlatformClassLoader());
                URLClassLoader second = new URLClassLoader(classPath(), ClassLoader.getPlatformClassLoader())) {
            Class<?> one = first.loadClass(NativeLibrary.class.getName());
            Class<?> two = second.loadClass(NativeLibrary.class.getName());
            assertNotSame(one, two);
            assertEquals(true, one.getMethod("isAvailable").invoke(null));
            assertEquals(true, two.getMethod("isAvailable").invoke(null));
            Class<?> slim = second.loadClass(NativeSlim.class.getName());
            assertEquals(NativeLibrary.ABI, slim.getMethod("abi").invoke(null));
        }
    }

    /** Switched off by property, the library is left alone and nothing is thrown. */
    @Test
    void canBeSwitchedOff() throws Exception {
        System.setProperty("headrace.slimbase.native", "false");
        try (URLClassLoader loader = new URLClassLoader(classPath(), ClassLoader.getPlatformClassLoader())) {
            Class<?> library = loader.loadClass(NativeLibrary.class.getName());
            assertEquals(false, library.getMethod("isAvailable").invoke(null));
        } finally {
            System.clearProperty("headrace.slimbase.native");
        }
    }

    /** The copy that was loaded is deleted at once. */
    @Test
    void leavesNoFile() throws Exception {
        NativeLibrary.isAvailable();
        String ours = "libslimbase_jni-" + ProcessHandle.current().pid() + "-";
        try (Stream<Path> files = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
            assertTrue(files.noneMatch(file -> file.getFileName().toString().startsWith(ours)));
        }
    }
}
