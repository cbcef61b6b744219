package io.headrace.statebench.nexmark;

import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;

/** `'connector' = 'nexmark'`: a bounded table of events; its columns are event_type, person, auction, bid. */
public final class NexmarkTableFactory implements DynamicTableSourceFactory {

    private static final ConfigOption<Long> EVENTS = ConfigOptions.key("events")
            .longType()
            .noDefaultValue()
            .withDescription("How many events there are.");
    private static final ConfigOption<Long> RATE = ConfigOptions.key("event-rate-per-s")
            .longType()
            .defaultValue(100_000L)
            .withDescription("Events per second of event time: the denser, the more state a window holds.");
    private static final ConfigOption<String> START_PATH = ConfigOptions.key("start-path")
            .stringType()
            .noDefaultValue()
            .withDescription("File that gets the wall-clock time of the first event, in ms.");

    @Override
    public String factoryIdentifier() {
        return "nexmark";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(EVENTS);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(RATE, START_PATH);
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        ReadableConfig options = helper.getOptions();
        DataType type = context.getPhysicalRowDataType();
        return new NexmarkTableSource(
                new NexmarkOptions(options.get(EVENTS), options.get(RATE), options.get(START_PATH)), type);
    }
}
