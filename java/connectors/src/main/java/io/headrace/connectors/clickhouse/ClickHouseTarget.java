package io.headrace.connectors.clickhouse;

import java.io.Serializable;

/** Where rows go and as whom. */
final class ClickHouseTarget implements Serializable {

    private static final long serialVersionUID = 1L;

    final String url;
    final String database;
    final String table;
    final String username;
    final String password;
    final boolean gzip;

    ClickHouseTarget(String url, String database, String table, String username, String password, boolean gzip) {
        this.url = url.endsWith("/") ? url.substring(0, url.length() - 1) : url;
        this.database = database;
        this.table = table;
        this.username = username;
        this.password = password;
        this.gzip = gzip;
    }

    /** A name as ClickHouse's SQL quotes it. */
    static String quoted(String name) {
        return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`";
    }

    @Override
    public String toString() {
        return url + "/" + database + "." + table;
    }
}
