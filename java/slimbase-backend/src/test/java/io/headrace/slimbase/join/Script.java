package io.headrace.slimbase.join;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** What happens to a join, step by step: rows of both inputs, some late, watermarks, restarts with another number of subtasks. */
final class Script {
    private final List<Step> steps = new ArrayList<>();

    private Script() {}

    /**
     * Random steps from a start time on. Times go up by one on average at every row, and are off by up to `disorderMs`; the watermark follows at
     * half of that, so that some rows are late.
     */
    static Script random(long seed, int rows, int keys, long startMs, int disorderMs, int restarts) {
        Random random = new Random(seed);
        Script script = new Script();
        for (int row = 0; row < rows; row++) {
            long time = startMs + row + random.nextInt(2 * disorderMs + 1) - disorderMs;
            // Times in groups, so that many rows have the same.
            long at = random.nextInt(3) == 0 ? Math.floorDiv(time, 7) * 7 : time;
            script.steps.add(Step.row(random.nextBoolean(), random.nextInt(keys), row, at));
            if (random.nextInt(20) == 0) {
                script.steps.add(Step.watermark(startMs + row - disorderMs / 2));
            }
            if (restarts > 0 && (row + 1) % (rows / (restarts + 1)) == 0) {
                script.steps.add(Step.restart(1 + random.nextInt(3)));
            }
        }
        script.steps.add(Step.watermark(Long.MAX_VALUE));
        return script;
    }

    List<Step> steps() {
        return steps;
    }

    /** A row, a watermark or a restart. */
    static final class Step {
        final boolean isLeft;
        final long key;
        final long id;
        final long time;
        /** Subtasks after a restart; 0 when this step is none. */
        final int subtasks;

        final boolean isRow;

        private Step(boolean isRow, boolean isLeft, long key, long id, long time, int subtasks) {
            this.isRow = isRow;
            this.isLeft = isLeft;
            this.key = key;
            this.id = id;
            this.time = time;
            this.subtasks = subtasks;
        }

        private static Step row(boolean isLeft, long key, long id, long time) {
            return new Step(true, isLeft, key, id, time, 0);
        }

        private static Step watermark(long time) {
            return new Step(false, false, 0, 0, time, 0);
        }

        private static Step restart(int subtasks) {
            return new Step(false, false, 0, 0, 0, subtasks);
        }
    }
}
