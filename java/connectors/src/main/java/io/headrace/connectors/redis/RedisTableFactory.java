package io.headrace.connectors.redis;

import io.headrace.connectors.common.Batching;
import io.headrace.connectors.common.SinkOptions;
import java.time.Duration;
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
 * `'connector' = 'redis'`: a table sink that keeps the newest row per key in Redis or Valkey.
 *
 * <pre>{@code
 * CREATE TABLE cell (..., PRIMARY KEY (region, isp, cdn) NOT ENFORCED) WITH (
 *   'connector' = 'redis',
 *   'host' = '127.0.0.1', 'port' = '6379',          -- required
 *   'key-template' = 'cell:{region}:{isp}:{cdn}',   -- required; {column} stands for the column's value
 *   'mode' = 'hash',                  -- fields of a hash; or 'string': the row as a JSON object
 *   'ttl' = '60 s',                   -- counted from the last write; none keeps keys for ever
 *   'version-column' = 'last_ts_ms',  -- BIGINT or INT, not negative: a row with a smaller one than the stored is dropped
 *   'deletes' = 'delete',             -- or 'ignore'
 *   'username' = '...', 'password' = '...', 'database-index' = '0',
 *   'sink.flush-interval' = '200 ms', 'sink.flush-rows' = '2000', 'sink.flush-bytes' = '4 mb',
 *   'sink.buffer-rows' = '10000', 'sink.retries' = '20', 'sink.request-timeout' = '30 s', 'sink.parallelism' = '1')
 * }</pre>
 *
 * <p>At least once; a replay writes the same values again. A hash holds every column as text (numbers, booleans and strings as they are, arrays,
 * maps and rows as JSON); NULL removes the field. Each row is one atomic script on the server, sent in pipelines over one connection per
 * subtask, so that the order of a key's rows is kept.
 */
public final class RedisTableFactory implements DynamicTableSinkFactory {

    static final ConfigOption<String> HOST =
            ConfigOptions.key("host").stringType().noDefaultValue().withDescription("Host name or address.");
    static final ConfigOption<Integer> PORT =
            ConfigOptions.key("port").intType().noDefaultValue().withDescription("TCP port.");
    static final ConfigOption<String> KEY_TEMPLATE =
            ConfigOptions.key("key-template")
                    .stringType()
                    .noDefaultValue()
                    .withDescription("The key; `{column}` stands for the column's value.");
    static final ConfigOption<Mode> MODE =
            ConfigOptions.key("mode")
                    .enumType(Mode.class)
                    .defaultValue(Mode.HASH)
                    .withDescription("`hash`: one field per column; `string`: the row as a JSON object.");
    static final ConfigOption<Duration> TTL =
            ConfigOptions.key("ttl")
                    .durationType()
                    .noDefaultValue()
                    .withDescription("How long a key lives after its last write; none keeps it for ever.");
    static final ConfigOption<String> VERSION_COLUMN =
            ConfigOptions.key("version-column")
                    .stringType()
                    .noDefaultValue()
                    .withDescription("Column whose value has to be at least the stored one, or the row is dropped.");
    static final ConfigOption<Deletes> DELETES =
            ConfigOptions.key("deletes")
                    .enumType(Deletes.class)
                    .defaultValue(Deletes.DELETE)
                    .withDescription("What a deleted row does: removes the key, or nothing.");
    static final ConfigOption<String> USERNAME =
            ConfigOptions.key("username").stringType().noDefaultValue().withDescription("ACL user.");
    static final ConfigOption<String> PASSWORD =
            ConfigOptions.key("password").stringType().noDefaultValue().withDescription("Password; none sends no AUTH.");
    static final ConfigOption<Integer> DATABASE_INDEX =
            ConfigOptions.key("database-index").intType().defaultValue(0).withDescription("Number for SELECT.");

    /** How a row is kept. */
    public enum Mode {
        /** One field per column. */
        HASH,
        /** A JSON object. */
        STRING
    }

    /** What a deleted row does to the stored one. */
    public enum Deletes {
        /** Removes the key, unless it holds a newer version. */
        DELETE,
        /** Nothing: the last value stays. */
        IGNORE
    }

    @Override
    public String factoryIdentifier() {
        return "redis";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(HOST, PORT, KEY_TEMPLATE);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        Set<ConfigOption<?>> options = new HashSet<>(SinkOptions.all());
        options.addAll(Set.of(MODE, TTL, VERSION_COLUMN, DELETES, USERNAME, PASSWORD, DATABASE_INDEX));
        return options;
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        ReadableConfig options = helper.getOptions();
        SinkOptions.validate(options);
        if (options.get(SinkOptions.IN_FLIGHT) != 1) {
            throw SinkOptions.invalid("sink.in-flight", options.get(SinkOptions.IN_FLIGHT), "1: rows of a key stay in order");
        }
        if (options.get(PORT) < 1 || options.get(PORT) > 65_535) {
            throw SinkOptions.invalid("port", options.get(PORT), "1 to 65535");
        }
        if (context.getCatalogTable().getResolvedSchema().getPrimaryKey().isEmpty()) {
            throw new ValidationException(
                    "a Redis table needs a key, table=`"
                            + context.getObjectIdentifier().asSummaryString()
                            + "`\nhint: declare PRIMARY KEY (...) NOT ENFORCED; the sink keeps the newest row per key");
        }
        RowCommands commands =
                new RowCommands(
                        (RowType) context.getPhysicalRowDataType().getLogicalType(),
                        options.get(KEY_TEMPLATE),
                        options.get(MODE),
                        options.getOptional(VERSION_COLUMN).orElse(""),
                        options.getOptional(TTL).map(Duration::toMillis).orElse(0L));
        RedisServer server =
                new RedisServer(
                        options.get(HOST),
                        options.get(PORT),
                        options.getOptional(USERNAME).orElse(""),
                        options.getOptional(PASSWORD).orElse(""),
                        options.get(DATABASE_INDEX));
        return new RedisTableSink(
                new RedisSink(server, commands, new Batching(options), options.get(DELETES) == Deletes.DELETE),
                options.getOptional(FactoryUtil.SINK_PARALLELISM).orElse(null));
    }
}
