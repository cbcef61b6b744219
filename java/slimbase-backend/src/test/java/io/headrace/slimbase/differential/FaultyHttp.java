package io.headrace.slimbase.differential;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.headrace.slimbase.file.RateLimiter;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.OptionalLong;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Stands between an HTTP client and a server and does what stores do on bad days: waits before it answers, sends no more than so many bytes a second,
 * answers 500 or 503, ends a body before its length, gives wrong bytes.
 */
final class FaultyHttp implements AutoCloseable {
    private static final Set<String> OWN_HEADERS = hopHeaders();
    private static final int PIECE_BYTES = 32 << 10;
    private static final int THREADS = 16;
    private static final String SLOW_DOWN =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

    private final URI server;
    private final HttpServer listener;
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    private final RateLimiter limiter = new RateLimiter(0, System::nanoTime, TimeUnit.NANOSECONDS::sleep);
    private final Random random;
    final AtomicInteger faults = new AtomicInteger();
    /** Waits so long before each answer. */
    volatile int latencyMs;
    /** The share of requests that are answered 500 or 503, and of bodies that are cut. */
    volatile double errorShare;
    /** Every answer to a GET is 503. */
    volatile boolean isDown;
    /** Each 4096th byte of the first half of an object is wrong. */
    volatile boolean isWrong;

    FaultyHttp(URI server, long seed) throws IOException {
        // Without it each answer waits 40 ms for the other side's acknowledgement.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        this.server = server;
        this.random = new Random(seed);
        listener = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        listener.createContext("/", this::answer);
        listener.setExecutor(threads);
        listener.start();
    }

    private static Set<String> hopHeaders() {
        Set<String> headers = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
        headers.addAll(List.of("Connection", "Content-Length", "Expect", "Host", "Transfer-Encoding", "Upgrade"));
        return headers;
    }

    URI uri() {
        return URI.create("http://127.0.0.1:" + listener.getAddress().getPort());
    }

    /** Bytes a second of all bodies together; 0 is as fast as it goes. */
    void bytesPerSecond(double rate) {
        limiter.rate(rate);
    }

    private synchronized double draw() {
        return random.nextDouble();
    }

    private void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            TimeUnit.MILLISECONDS.sleep(latencyMs);
            boolean isGet = exchange.getRequestMethod().equals("GET");
            if (isGet && isDown || draw() < errorShare) {
                refuse(exchange);
                return;
            }
            HttpResponse<InputStream> response = client.send(forward(exchange, body), HttpResponse.BodyHandlers.ofInputStream());
            try (InputStream in = response.body()) {
                OptionalLong length = response.headers().firstValueAsLong("Content-Length");
                // Listings have no length beforehand; they are short.
                byte[] listing = length.isPresent() ? new byte[0] : in.readAllBytes();
                InputStream content = length.isPresent() ? in : new ByteArrayInputStream(listing);
                pass(exchange, response, content, length.orElse(listing.length));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void refuse(HttpExchange exchange) throws IOException {
        faults.incrementAndGet();
        byte[] text = SLOW_DOWN.getBytes();
        boolean isThrottled = isDown || draw() < 0.5;
        boolean isHead = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(isThrottled ? 503 : 500, isHead ? -1 : text.length);
        if (!isHead) {
            exchange.getResponseBody().write(text);
        }
    }

    private HttpRequest forward(HttpExchange exchange, byte[] body) {
        HttpRequest.Builder request =
                HttpRequest.newBuilder(server.resolve(exchange.getRequestURI()))
                        .method(exchange.getRequestMethod(), HttpRequest.BodyPublishers.ofByteArray(body));
        exchange.getRequestHeaders().forEach(
                (name, values) -> {
                    if (!OWN_HEADERS.contains(name)) {
                        values.forEach(value -> request.header(name, value));
                    }
                });
        return request.build();
    }

    private void pass(HttpExchange exchange, HttpResponse<?> response, InputStream in, long length) throws IOException, InterruptedException {
        response.headers().map().forEach(
                (name, values) -> {
                    if (!OWN_HEADERS.contains(name)) {
                        exchange.getResponseHeaders().put(name, values);
                    }
                });
        boolean hasBody = length > 0 && !exchange.getRequestMethod().equals("HEAD");
        if (!hasBody) {
            exchange.getResponseHeaders().set("Content-Length", Long.toString(length));
        }
        exchange.sendResponseHeaders(response.statusCode(), hasBody ? length : -1);
        if (hasBody) {
            boolean isCut = response.statusCode() < 300 && draw() < errorShare;
            faults.addAndGet(isCut ? 1 : 0);
            copy(in, exchange.getResponseBody(), isCut ? (long) (length * draw()) : length, Extent.of(response, length));
        }
    }

    /** Where an answer's bytes lie in their object. */
    private static final class Extent {
        final long start;
        final long objectBytes;

        private Extent(long start, long objectBytes) {
            this.start = start;
            this.objectBytes = objectBytes;
        }

        static Extent of(HttpResponse<?> response, long length) {
            String range = response.headers().firstValue("Content-Range").orElse("bytes 0-" + (length - 1) + "/" + length);
            String[] parts = range.substring("bytes ".length()).split("[-/]");
            return new Extent(Long.parseLong(parts[0]), Long.parseLong(parts[2]));
        }
    }

    private void copy(InputStream in, OutputStream out, long bytes, Extent extent) throws IOException, InterruptedException {
        byte[] piece = new byte[PIECE_BYTES];
        for (long done = 0; done < bytes; ) {
            int count = in.read(piece, 0, (int) Math.min(piece.length, bytes - done));
            if (count < 0) {
                return;
            }
            limiter.acquire(count);
            if (isWrong) {
                spoil(piece, count, extent.start + done, extent.objectBytes / 2);
            }
            out.write(piece, 0, count);
            done += count;
        }
    }

    private static void spoil(byte[] piece, int count, long at, long end) {
        for (int i = 0; i < count; i++) {
            if ((at + i) % 4096 == 4095 && at + i < end) {
                piece[i] ^= 1;
            }
        }
    }

    @Override
    public void close() {
        listener.stop(0);
        threads.shutdownNow();
    }
}
