/**
 * Checkpoints, savepoints and their restore.
 *
 * <p>A checkpoint is a list of immutable files, one per segment of the log, in order, plus the timers and a manifest. The barrier only seals the log
 * and notes what there is ({@link io.headrace.slimbase.snapshot.SlimCheckpointStrategy}); the background packs segments that have no confirmed file,
 * uploads them and refers to the others again ({@link io.headrace.slimbase.snapshot.CheckpointOperation}). Restoring reads the files in the order of
 * the manifest, of each only the key groups that are ours ({@link io.headrace.slimbase.snapshot.SlimRestore}).
 *
 * <p>A file is used again only when a completed checkpoint has it: the JobManager may delete all others at any time.
 */
package io.headrace.slimbase.snapshot;
