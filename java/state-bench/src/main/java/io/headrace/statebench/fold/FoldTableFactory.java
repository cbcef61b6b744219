package io.headrace.statebench.fold;

import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;

/** `'connector' = 'fold'`: folds the changelog into one hash of the final rows, written to `result-path`. */
public final class FoldTableFactory implements DynamicTableSinkFactory {

    private static final ConfigOption<String> RESULT_PATH = ConfigOptions.key("result-path")
            .stringType()
            .noDefaultValue()
            .withDescription("File that gets the result as JSON at the end of the input.");

    @Override
    public String factoryIdentifier() {
        return "fold";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(RESULT_PATH);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new FoldTableSink(helper.getOptions().get(RESULT_PATH), context.getPhysicalRowDataType());
    }
}
