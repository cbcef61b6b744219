package io.headrace.connectors.json;

import java.io.IOException;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.RowType;

/** Reads a message with {@link FlatJsonReader}, and what that gives up with Flink's reader, which also knows what to do with errors. */
final class FlatJsonDeserializer implements DeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;

    private final RowType type;
    private final TypeInformation<RowData> produced;
    private final DeserializationSchema<RowData> slow;
    private transient FlatJsonReader reader;

    FlatJsonDeserializer(RowType type, TypeInformation<RowData> produced, DeserializationSchema<RowData> slow) {
        this.type = type;
        this.produced = produced;
        this.slow = slow;
    }

    @Override
    public void open(InitializationContext context) throws Exception {
        slow.open(context);
        reader = new FlatJsonReader(type);
    }

    @Override
    public RowData deserialize(byte[] message) throws IOException {
        if (message == null) {
            return null;
        }
        RowData row = reader.read(message);
        return row == null ? slow.deserialize(message) : row;
    }

    @Override
    public boolean isEndOfStream(RowData row) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return produced;
    }
}
