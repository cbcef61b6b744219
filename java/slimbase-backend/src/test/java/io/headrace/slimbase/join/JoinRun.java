package io.headrace.slimbase.join;

import io.headrace.slimbase.join.Script.Step;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Queue;
import java.util.function.Function;
import java.util.function.Supplier;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.AbstractStreamOperatorTestHarness;
import org.apache.flink.streaming.util.KeyedTwoInputStreamOperatorTestHarness;
import org.apache.flink.util.OutputTag;

/** Plays a script to the subtasks of a join; what comes out of each step, sorted, since only ordered backends have an order. */
final class JoinRun<K, T, R> {
    private static final int KEY_GROUPS = 16;

    /** How rows are made, keyed and printed. */
    static final class Form<K, T, R> {
        final Function<Step, T> row;
        final KeySelector<T, K> key;
        final TypeInformation<K> keyType;
        final TypeSerializer<R> results;
        final Function<R, String> print;
        final List<OutputTag<?>> tags;

        Form(
                Function<Step, T> row,
                KeySelector<T, K> key,
                TypeInformation<K> keyType,
                TypeSerializer<R> results,
                Function<R, String> print,
                List<OutputTag<?>> tags) {
            this.row = row;
            this.key = key;
            this.keyType = keyType;
            this.results = results;
            this.print = print;
            this.tags = tags;
        }
    }

    private final Form<K, T, R> form;
    private final List<Backends> backends;
    private final List<Supplier<TwoInputStreamOperator<T, T, R>>> operators;
    private final List<KeyedTwoInputStreamOperatorTestHarness<K, T, T, R>> subtasks = new ArrayList<>();
    private final List<List<String>> outputs = new ArrayList<>();
    private int starts;

    /** Each restart (from a checkpoint, later from canonical savepoints) goes on with the next one of the backends and of the operators. */
    JoinRun(Form<K, T, R> form, List<Backends> backends, List<Supplier<TwoInputStreamOperator<T, T, R>>> operators) {
        this.form = form;
        this.backends = backends;
        this.operators = operators;
    }

    /** One list of lines per step. */
    List<List<String>> play(Script script) throws Exception {
        start(1, null, 0);
        long watermark = Long.MIN_VALUE;
        for (Step step : script.steps()) {
            if (step.subtasks > 0) {
                restart(step.subtasks);
                // Sources send it again.
                everywhere(watermark);
            } else if (step.isRow) {
                process(step);
            } else {
                watermark = step.time;
                everywhere(watermark);
            }
            outputs.add(drain());
        }
        close();
        return outputs;
    }

    private void everywhere(long watermark) throws Exception {
        for (var subtask : subtasks) {
            // For joins in processing time, which has none before 1970.
            subtask.setProcessingTime(Math.max(0, watermark));
            subtask.processWatermark1(new Watermark(watermark));
            subtask.processWatermark2(new Watermark(watermark));
        }
    }

    private void process(Step step) throws Exception {
        T row = form.row.apply(step);
        int group = KeyGroupRangeAssignment.assignToKeyGroup(form.key.getKey(row), KEY_GROUPS);
        var subtask = subtasks.get(KeyGroupRangeAssignment.computeOperatorIndexForKeyGroup(KEY_GROUPS, subtasks.size(), group));
        if (step.isLeft) {
            subtask.processElement1(new StreamRecord<>(row, step.time));
        } else {
            subtask.processElement2(new StreamRecord<>(row, step.time));
        }
    }

    private void restart(int count) throws Exception {
        OperatorSubtaskState[] states = new OperatorSubtaskState[subtasks.size()];
        for (int i = 0; i < states.length; i++) {
            // A second checkpoint would refer to files of the first one, which only a JobManager knows.
            SnapshotType type = starts == 1 && backends.size() == 1
                    ? CheckpointType.CHECKPOINT
                    : SavepointType.savepoint(SavepointFormatType.CANONICAL);
            states[i] = subtasks.get(i).snapshotWithLocalState(starts, starts, type).getJobManagerOwnedState();
        }
        close();
        start(count, AbstractStreamOperatorTestHarness.repackageState(states), states.length);
    }

    private void start(int count, OperatorSubtaskState state, int before) throws Exception {
        Supplier<TwoInputStreamOperator<T, T, R>> operator = operators.get(starts % operators.size());
        for (int i = 0; i < count; i++) {
            var subtask = new KeyedTwoInputStreamOperatorTestHarness<>(
                    operator.get(), form.key, form.key, form.keyType, KEY_GROUPS, count, i);
            subtask.setStateBackend(backends.get(starts % backends.size()).make());
            subtask.setup(form.results);
            if (state != null) {
                subtask.initializeState(
                        AbstractStreamOperatorTestHarness.repartitionOperatorState(state, KEY_GROUPS, before, count, i));
            }
            subtask.open();
            subtasks.add(subtask);
        }
        starts++;
    }

    private void close() throws Exception {
        for (var subtask : subtasks) {
            subtask.close();
        }
        subtasks.clear();
    }

    @SuppressWarnings("unchecked")
    private List<String> drain() {
        List<String> lines = new ArrayList<>();
        for (var subtask : subtasks) {
            Queue<Object> results = subtask.getOutput();
            for (Object result = results.poll(); result != null; result = results.poll()) {
                if (result instanceof StreamRecord) {
                    StreamRecord<R> record = (StreamRecord<R>) result;
                    lines.add(form.print.apply(record.getValue()) + " @" + (record.hasTimestamp() ? record.getTimestamp() : "none"));
                }
            }
            for (OutputTag<?> tag : form.tags) {
                Queue<?> side = subtask.getSideOutput(tag);
                while (side != null && !side.isEmpty()) {
                    lines.add(tag.getId() + " " + side.poll());
                }
            }
        }
        Collections.sort(lines);
        return lines;
    }
}
