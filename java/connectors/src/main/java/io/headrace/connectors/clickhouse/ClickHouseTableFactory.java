package io.headrace.connectors.clickhouse;

import io.headrace.connectors.common.Batching;
import io.headrace.connectors.common.SinkOptions;
import java.net.URI;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.RowType;

/**
 * `'connector' = 'clickhouse'`: a table sink that writes to ClickHouse, or Headrace's OLAP host, over HTTP.
 *
 * <pre>{@code
 * CREATE TABLE qoe_1m (..., PRIMARY KEY (window_start, cdn) NOT ENFORCED) WITH (
 *   'connector' = 'clickhouse',
 *   'url' = 'http://127.0.0.1:8123',   -- required
 *   'table' = 'qoe_1m',                -- required; it has to exist
 *   'database' = 'default',
 *   'username' = '...', 'password' = '...',
 *   'version-column' = '_version',     -- see below
 *   'deletes' = 'ignore',              -- or 'mark', which needs 'deleted-column'
 *   'deleted-column' = '_deleted',
 *   'sink.gzip' = 'false',
 *   'sink.flush-interval' = '200 ms', 'sink.flush-rows' = '2000', 'sink.flush-bytes' = '4 mb',
 *   'sink.buffer-rows' = '10000', 'sink.in-flight' = '1', 'sink.retries' = '20',
 *   'sink.request-timeout' = '30 s', 'sink.parallelism' = '1')
 * }</pre>
 *
 * <p>At least once, and idempotent with a primary key and a ReplacingMergeTree sorted by it: a row written again replaces itself. Which of
 * two rows of a key is newer: the later inserted one; or, with `version-column`, the one with the larger version. If the table
 * declares that column, its values are taken; if it does not, the sink fills in nanoseconds that grow with every row.
 */
public final class ClickHouseTableFactory implements DynamicTableSinkFactory {

    static final ConfigOption<String> URL =
            ConfigOptions.key("url")
                    .stringType()
                    .noDefaultValue()
                    .withDescription("Address of the HTTP interface, `http://host:port`.");
    static final ConfigOption<String> TABLE =
            ConfigOptions.key("table").stringType().noDefaultValue().withDescription("Table to write to; has to exist.");
    static final ConfigOption<String> DATABASE =
            ConfigOptions.key("database").stringType().defaultValue("default").withDescription("Its database.");
    static final ConfigOption<String> USERNAME =
            ConfigOptions.key("username").stringType().noDefaultValue().withDescription("User; none sends no header.");
    static final ConfigOption<String> PASSWORD =
            ConfigOptions.key("password").stringType().noDefaultValue().withDescription("The user's password.");
    static final ConfigOption<String> VERSION_COLUMN =
            ConfigOptions.key("version-column")
                    .stringType()
                    .noDefaultValue()
                    .withDescription(
                            "Version column of the ReplacingMergeTree. Taken from the row if the table declares it, "
                                    + "else filled with growing nanoseconds.");
    static final ConfigOption<Deletes> DELETES =
            ConfigOptions.key("deletes")
                    .enumType(Deletes.class)
                    .defaultValue(Deletes.IGNORE)
                    .withDescription("What a deleted row does: nothing, or a row with `deleted-column` = 1.");
    static final ConfigOption<String> DELETED_COLUMN =
            ConfigOptions.key("deleted-column")
                    .stringType()
                    .defaultValue("_deleted")
                    .withDescription("The is_deleted column of the ReplacingMergeTree; used with `deletes` = `mark`.");
    static final ConfigOption<Boolean> GZIP =
            ConfigOptions.key("sink.gzip")
                    .booleanType()
                    .defaultValue(false)
                    .withDescription("Compress batches: worth it over a network, not on one host.");

    /** What a deleted row does to the stored one. */
    public enum Deletes {
        /** Nothing: the last value stays. */
        IGNORE,
        /** A newer row of the key says that it is deleted. */
        MARK
    }

    @Override
    public String factoryIdentifier() {
        return "clickhouse";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(URL, TABLE);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        Set<ConfigOption<?>> options = new HashSet<>(SinkOptions.all());
        options.addAll(Set.of(DATABASE, USERNAME, PASSWORD, VERSION_COLUMN, DELETES, DELETED_COLUMN, GZIP));
        return options;
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        ReadableConfig options = helper.getOptions();
        SinkOptions.validate(options);
        validateUrl(options.get(URL));
        boolean keyed = context.getCatalogTable().getResolvedSchema().getPrimaryKey().isPresent();
        if (options.get(DELETES) == Deletes.MARK && !keyed) {
            throw new ValidationException(
                    "deletes cannot be marked without a key, table=`"
                            + context.getObjectIdentifier().asSummaryString()
                            + "`\nhint: declare PRIMARY KEY (...) NOT ENFORCED, or 'deletes' = 'ignore'");
        }
        RowType type = (RowType) context.getPhysicalRowDataType().getLogicalType();
        String version = options.getOptional(VERSION_COLUMN).orElse("");
        ClickHouseTarget target =
                new ClickHouseTarget(
                        options.get(URL),
                        options.get(DATABASE),
                        options.get(TABLE),
                        options.getOptional(USERNAME).orElse(""),
                        options.getOptional(PASSWORD).orElse(""),
                        options.get(GZIP));
        RowForm form =
                new RowForm(
                        type,
                        version.isEmpty() || type.getFieldNames().contains(version) ? "" : version,
                        options.get(DELETES) == Deletes.MARK ? options.get(DELETED_COLUMN) : "");
        return new ClickHouseTableSink(
                target,
                form,
                new Batching(options),
                keyed,
                options.getOptional(FactoryUtil.SINK_PARALLELISM).orElse(null));
    }

    private static void validateUrl(String url) {
        try {
            String scheme = URI.create(url).getScheme();
            if (("http".equals(scheme) || "https".equals(scheme)) && URI.create(url).getHost() != null) {
                return;
            }
        } catch (IllegalArgumentException malformed) {
            throw (ValidationException) SinkOptions.invalid("url", url, "http://host:port").initCause(malformed);
        }
        throw SinkOptions.invalid("url", url, "http://host:port");
    }
}
