/**
 * The functions of the shipped app `live-quality`: what a session did, slot by slot.
 *
 * <p>`PLAY_SLOT` gathers the beacons of a session and of five seconds into a few bytes; `PLAYBACK` walks these slots in order of time,
 * remembers what a session was doing, and says what happened in each; `HEARD` counts sequence numbers of a minute. They are plain
 * aggregate functions, so the same SQL runs as a stream and as a batch. The rules stand in apps/live-quality/README.md; `oracle.py` is
 * the same in plain Python, and a test compares both row by row. Why they are no SQL: docs/decisions/backlog-throughput.md.
 */
package io.headrace.quality;
