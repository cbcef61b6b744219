// Where an operator's state is, in the terms of the picture: segments of the memory budget, strips to one scale, flows, and a sentence. Pure.
import { bytes, count, share, timeShare, times } from "./fmt";
import type { OperatorState } from "./model";

export interface Segment {
  key: "records" | "dead" | "cache" | "index" | "filters" | "others" | "free";
  label: string;
  bytes: number;
}

export interface Picture {
  /** What the whole width stands for: a round number of budgets, so that it moves in steps and not with every byte. */
  scaleBytes: number;
  budgetBytes: number;
  segments: Segment[];
  fileBytes: number;
  checkpointBytes: number | null;
  /** Multiples of the budget to be marked. */
  marks: number[];
}

const STEPS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100];
const MARKS_MAX = 6;
/** A subtask that waits for so long in each second is held up by its disk. */
export const STALL_MS_WARN = 50;

const known = (value: number | null): number => value ?? 0;

/** The parts of the memory budget, which the slots' other operators share; they add up to it. */
export function segments(state: OperatorState): Segment[] {
  const cache = known(state.cache_bytes);
  const records = Math.max(0, known(state.record_bytes) - cache);
  // What is not alive waits to be cleaned, or is the room left in the newest chunk.
  const alive = Math.min(records, state.live_bytes ?? records);
  const index = known(state.index_bytes);
  const filters = known(state.file_index_bytes);
  const own = records + cache + index + filters;
  const limit = Math.max(known(state.memory_limit_bytes), own);
  const others = Math.min(limit - own, Math.max(0, known(state.memory_used_bytes) - own));
  return [
    { key: "records", label: "records", bytes: alive },
    { key: "dead", label: "overwritten or spare", bytes: records - alive },
    { key: "cache", label: "read cache", bytes: cache },
    { key: "index", label: "index", bytes: index },
    { key: "filters", label: "filters of files", bytes: filters },
    { key: "others", label: "others in the slots", bytes: others },
    { key: "free", label: "free", bytes: limit - own - others },
  ];
}

export function picture(state: OperatorState): Picture {
  const parts = segments(state);
  const budget = parts.reduce((sum, part) => sum + part.bytes, 0) || 1;
  const fileBytes = known(state.file_bytes);
  const most = Math.max(1, fileBytes / budget, known(state.checkpoint_bytes) / budget);
  const scale = STEPS.find((step) => step >= most) ?? Math.ceil(most / 50) * 50;
  const stride = Math.max(1, Math.ceil(scale / MARKS_MAX));
  const marks = Array.from({ length: Math.floor(scale / stride) }, (_, i) => (i + 1) * stride);
  return {
    scaleBytes: scale * budget, budgetBytes: budget, segments: parts, fileBytes, checkpointBytes: state.checkpoint_bytes,
    marks: marks[0] === 1 ? marks : [1, ...marks],
  };
}

/** Memory that the operator itself takes. */
export function ownBytes(state: OperatorState): number {
  return known(state.record_bytes) + known(state.index_bytes) + known(state.file_index_bytes);
}

/** All that is kept, in memory and in files. */
export function totalBytes(state: OperatorState): number {
  return ownBytes(state) + known(state.file_bytes);
}

/** How much larger another operator must be to take the page from the one that is looked at. */
const TAKE_OVER = 10;

/** The operator to show: the one that the address names, else the one shown so far, else the largest; what has next to nothing gives way. */
export function chooseOperator(operators: readonly OperatorState[], named: string, shown: string): OperatorState | undefined {
  const largest = operators.reduce<OperatorState | undefined>((a, b) => (a && totalBytes(a) >= totalBytes(b) ? a : b), undefined);
  const before = operators.find((one) => one.id === shown);
  const stays = before && largest && totalBytes(before) * TAKE_OVER > totalBytes(largest);
  return operators.find((one) => one.id === named) ?? (stays ? before : largest);
}

/** Bytes written to files for each byte that was appended, since the attempt started; null before anything was packed. */
export function writeAmplification(state: OperatorState): number | null {
  if (!state.appended_bytes || state.packed_bytes === null || state.merged_bytes === null) return null;
  return (state.packed_bytes + state.merged_bytes) / state.appended_bytes;
}

export interface Hits {
  /** Of lookups, those that memory answered. */
  memory: number | null;
  /** Reads of a file for each lookup that memory could not answer. */
  readsPerMiss: number | null;
  /** Of reads of files, those that found the record. */
  useful: number | null;
}

const ratio = (part: number | null, whole: number | null): number | null => (part === null || !whole ? null : part / whole);

export function hits({ rates }: OperatorState): Hits {
  const missed = ratio(rates.file_lookups_per_s, rates.lookups_per_s);
  const vain = ratio(rates.false_file_reads_per_s, rates.file_reads_per_s);
  return {
    memory: missed === null ? null : Math.max(0, 1 - missed),
    readsPerMiss: ratio(rates.file_reads_per_s, rates.file_lookups_per_s),
    useful: vain === null ? null : Math.max(0, 1 - vain),
  };
}

export interface Saying {
  text: string;
  tone: "good" | "warn" | "bad";
}

/** What is going on, in one or two plain sentences; what is wrong comes last. */
export function sentence(state: OperatorState): Saying {
  const limit = known(state.memory_limit_bytes);
  const files = known(state.file_bytes);
  const said: string[] = [];
  let tone: Saying["tone"] = "good";
  if (!files) {
    said.push(`All state is in memory: ${share(limit ? ownBytes(state) / limit : null)} of ${bytes(limit)}.`);
  } else {
    const size = known(state.record_bytes) - known(state.cache_bytes) + files;
    said.push(`State is ${size < limit ? `${share(size / limit)} of` : `${times(size / limit).replace("×", " times")}`} its memory budget, ${share(files / size)} of it in files; ${reading(state)}.`);
  }
  if (state.restored_files_left) {
    said.push(`${count(state.restored_files_left)} restored ${state.restored_files_left === 1 ? "file is" : "files are"} still read from the checkpoint.`);
    tone = "warn";
  }
  const stall = known(state.rates.stall_ms_per_s);
  if (stall >= STALL_MS_WARN) {
    said.push(`Writes wait for the disk, ${timeShare(stall)} in each subtask.`);
    tone = "warn";
  }
  if (state.merge_failures) {
    said.push(`${count(state.merge_failures)} ${state.merge_failures === 1 ? "merge" : "merges"} failed: the TaskManager’s log says why.`);
    tone = "bad";
  }
  return { text: said.join(" "), tone };
}

function reading(state: OperatorState): string {
  const { memory, readsPerMiss } = hits(state);
  if (state.rates.lookups_per_s === 0) return "nothing is looked up right now";
  if (memory === null) return "rates follow in some seconds";
  if (memory >= 0.9995) return "memory answers all lookups";
  return `${share(1 - memory)} of lookups ask the files${readsPerMiss === null ? "" : `, at ${readsPerMiss.toFixed(2)} reads each`}`;
}

/** Width of a flow's arrow: grows with the root of the rate, so that a trickle is seen beside a torrent. */
export function flowWidth(value: number | null, most: number): number {
  return value && most > 0 ? 2 + 10 * Math.sqrt(Math.min(1, value / most)) : 0;
}
