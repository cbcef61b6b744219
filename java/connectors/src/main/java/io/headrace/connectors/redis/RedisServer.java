package io.headrace.connectors.redis;

import java.io.Serializable;

/** Which server, and as whom. */
final class RedisServer implements Serializable {

    private static final long serialVersionUID = 1L;

    final String host;
    final int port;
    final String username;
    final String password;
    final int database;

    RedisServer(String host, int port, String username, String password, int database) {
        this.host = host;
        this.port = port;
        this.username = username;
        this.password = password;
        this.database = database;
    }

    @Override
    public String toString() {
        return host + ":" + port + "/" + database;
    }
}
