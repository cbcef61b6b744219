/**
 * What makes a spare warm: a TaskManager, or a JobManager that stands by, runs a small job in its own process before it is needed.
 *
 * <p>A process that has run nothing yet takes seconds for its first task: classes are loaded, generated code is compiled for the first
 * time, clients meet their brokers. Those seconds are in the way when it takes over the tasks of a lost host. {@link
 * io.headrace.warmup.WarmUp} goes the same way beforehand, restart included, in a cluster inside the process, and leaves nothing but a
 * warm machine. docs/decisions/hawk.md has the measurements.
 */
package io.headrace.warmup;
