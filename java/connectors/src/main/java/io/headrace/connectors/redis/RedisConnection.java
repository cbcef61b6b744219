package io.headrace.connectors.redis;

import io.headrace.connectors.common.RejectedRows;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * A blocking RESP2 connection that can do one thing: send a pipeline and read its answers.
 *
 * <p>Own code, because that is all the sink needs, and a client library brings three more jars into the job's class path. Writes and reads
 * alternate in slices of {@link #SLICE} commands: a longer pipeline could fill both socket buffers and stop for ever.
 */
final class RedisConnection implements Closeable {

    private static final int SLICE = 1_000;
    private static final int BUFFER_BYTES = 65_536;
    private static final byte[] LINE_END = {'\r', '\n'};

    private final Socket socket;
    private final InputStream in;
    private final OutputStream out;

    private RedisConnection(Socket socket) throws IOException {
        this.socket = socket;
        this.in = new BufferedInputStream(socket.getInputStream(), BUFFER_BYTES);
        this.out = new BufferedOutputStream(socket.getOutputStream(), BUFFER_BYTES);
    }

    /**
     * Connect, log in, choose the database and load the scripts.
     *
     * @throws RejectedRows the server refuses the login, the database or the scripts
     * @throws IOException it cannot be reached
     */
    static RedisConnection open(RedisServer server, Duration timeout, List<byte[]> scripts) throws IOException {
        Socket socket = new Socket();
        try {
            socket.connect(new InetSocketAddress(server.host, server.port), (int) timeout.toMillis());
            socket.setSoTimeout((int) timeout.toMillis());
            socket.setTcpNoDelay(true);
            RedisConnection connection = new RedisConnection(socket);
            String error = connection.pipeline(greeting(server, scripts));
            if (error != null && !error.startsWith("LOADING")) {
                throw new RejectedRows(
                        "Redis refuses the connection, server=`" + server + "`: " + error,
                        "check 'username', 'password' and 'database-index'");
            }
            if (error != null) {
                throw new IOException(error);
            }
            return connection;
        } catch (IOException | RuntimeException failure) {
            socket.close();
            throw failure;
        }
    }

    private static List<byte[][]> greeting(RedisServer server, List<byte[]> scripts) {
        List<byte[][]> commands = new ArrayList<>();
        if (!server.password.isEmpty()) {
            commands.add(
                    server.username.isEmpty()
                            ? command("AUTH", server.password)
                            : command("AUTH", server.username, server.password));
        }
        if (server.database != 0) {
            commands.add(command("SELECT", Integer.toString(server.database)));
        }
        for (byte[] script : scripts) {
            commands.add(new byte[][] {ascii("SCRIPT"), ascii("LOAD"), script});
        }
        return commands;
    }

    /**
     * Send commands and read all their answers.
     *
     * @return the first error's text, null when there was none
     * @throws IOException the connection broke; some commands may have been executed
     */
    String pipeline(List<byte[][]> commands) throws IOException {
        String firstError = null;
        for (int from = 0; from < commands.size(); from += SLICE) {
            List<byte[][]> slice = commands.subList(from, Math.min(from + SLICE, commands.size()));
            for (byte[][] command : slice) {
                writeCommand(command);
            }
            out.flush();
            for (int i = 0; i < slice.size(); i++) {
                String error = readAnswer();
                firstError = firstError == null ? error : firstError;
            }
        }
        return firstError;
    }

    private void writeCommand(byte[][] parts) throws IOException {
        writeHead('*', parts.length);
        for (byte[] part : parts) {
            writeHead('$', part.length);
            out.write(part);
            out.write(LINE_END);
        }
    }

    private void writeHead(char kind, int number) throws IOException {
        out.write(kind);
        out.write(ascii(Integer.toString(number)));
        out.write(LINE_END);
    }

    private String readAnswer() throws IOException {
        int kind = in.read();
        String line = readLine();
        switch (kind) {
            case '-':
                return line;
            case '+':
            case ':':
                return null;
            case '$':
                int length = Integer.parseInt(line);
                if (length >= 0) {
                    in.readNBytes(length + 2);
                }
                return null;
            case '*':
                String error = null;
                for (int i = Integer.parseInt(line); i > 0; i--) {
                    String inner = readAnswer();
                    error = error == null ? inner : error;
                }
                return error;
            default:
                throw new IOException("not an answer of Redis, first byte " + kind);
        }
    }

    private String readLine() throws IOException {
        StringBuilder line = new StringBuilder();
        for (int next = in.read(); next != '\r'; next = in.read()) {
            if (next < 0) {
                throw new EOFException("the server closed the connection");
            }
            line.append((char) next);
        }
        in.read();
        return line.toString();
    }

    private static byte[][] command(String... parts) {
        byte[][] bytes = new byte[parts.length][];
        for (int i = 0; i < parts.length; i++) {
            bytes[i] = parts[i].getBytes(StandardCharsets.UTF_8);
        }
        return bytes;
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    @Override
    public void close() {
        try {
            socket.close();
        } catch (IOException alreadyGone) {
            return;
        }
    }
}
