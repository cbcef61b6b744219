package io.headrace.warmup;

import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/** The job's last operator: counts rows, and fails the job once, so that what a restart runs has run. */
final class FailOnce extends ProcessFunction<RowData, RowData> implements CheckpointListener {
    private static final long serialVersionUID = 1L;

    @Override
    public void processElement(RowData row, Context context, Collector<RowData> out) {
        Progress.current().row();
        out.collect(row);
    }

    @Override
    public void notifyCheckpointComplete(long id) {
        if (Progress.current().checkpoint()) {
            throw new OnPurpose();
        }
    }

    /** The failure; its words are what a reader of the log meets. */
    static final class OnPurpose extends RuntimeException {
        private static final long serialVersionUID = 1L;

        OnPurpose() {
            super("on purpose: the warm-up's job restarts once", null, false, false);
        }
    }
}
