// The picture of the tiers: three strips to one scale, whose unit is the memory budget, with what flows between them.
import type { ComponentChildren } from "preact";
import { ago, byteRate, bytes, count, duration, rate, share, timeShare } from "./fmt";
import type { JobState, OperatorState } from "./model";
import { flowWidth, hits, picture, type Picture } from "./tiers";

export function Tiers({ operator, job }: { operator: OperatorState; job: JobState }) {
  const shown = picture(operator);
  const { rates } = operator;
  const fastest = Math.max(1, rates.appended_bytes_per_s ?? 0, rates.packed_bytes_per_s ?? 0, rates.merged_bytes_per_s ?? 0);
  const busiest = Math.max(1, rates.lookups_per_s ?? 0);
  const wide = (value: number): string => `${Math.min(100, (value / shown.scaleBytes) * 100)}%`;
  const { memory } = hits(operator);
  const answered = memory === null ? null : memory * (rates.lookups_per_s ?? 0);
  const hasFiles = shown.fileBytes > 0;
  return (
    <div class="tiers" role="group" aria-label="Tiers of the state, drawn to scale">
      <Flows>
        <Flow way="down" width={flowWidth(rates.appended_bytes_per_s, fastest)} label="changed" value={byteRate(rates.appended_bytes_per_s)} />
        <Flow way="up" width={flowWidth(rates.lookups_per_s, busiest)} label="looked up" value={rate(rates.lookups_per_s)} />
        <Flow way="round" width={flowWidth(answered, busiest)} label="answered by memory" value={share(memory)} test="hit-memory" raw={memory} />
        <Flow way="wait" width={flowWidth(rates.stall_ms_per_s, 1000)} label="writes wait for the disk" value={timeShare(rates.stall_ms_per_s)} test="stall" raw={rates.stall_ms_per_s} />
      </Flows>
      <Tier name="Memory" test="tier-memory" raw={shown.budgetBytes} note={`budget ${bytes(shown.budgetBytes)}`} shown={shown} labelled>
        <div class="strip memory" style={{ width: wide(shown.budgetBytes) }} role="img" aria-label={spoken(shown)}>
          {shown.segments.map((part) => <i key={part.key} class={`t-${part.key}`} style={{ flexGrow: part.bytes }} title={`${part.label}: ${bytes(part.bytes)}`} />)}
        </div>
      </Tier>
      <Budget shown={shown} />
      <Flows>
        <Flow way="down" width={flowWidth(rates.packed_bytes_per_s, fastest)} label="packed" value={byteRate(rates.packed_bytes_per_s)} test="packed" raw={rates.packed_bytes_per_s} />
        <Flow way="down" width={flowWidth(rates.file_lookups_per_s, busiest)} label="not in memory" value={rate(rates.file_lookups_per_s)} />
        <Flow way="up" width={flowWidth(rates.file_reads_per_s, busiest)} label="read" value={rate(rates.file_reads_per_s)} note={`${rate(rates.false_file_reads_per_s)} in vain`} />
        <Flow way="up" width={flowWidth(rates.promotions_per_s, busiest)} label="promoted" value={rate(rates.promotions_per_s)} />
      </Flows>
      <Tier name="Files" test="tier-files" raw={shown.fileBytes} shown={shown} note={hasFiles
        ? `${bytes(shown.fileBytes)} · ${count(operator.file_count)} files · up to ${count(operator.run_count_max)} runs a lookup`
        : "none: all state fits memory"}>
        {hasFiles ? <div class="strip t-files" style={{ width: wide(shown.fileBytes) }} title={`files: ${bytes(shown.fileBytes)}`} /> : <div class="strip none" />}
      </Tier>
      <Flows>
        <Flow way="round" width={flowWidth(rates.merged_bytes_per_s, fastest)} label="merged" value={byteRate(rates.merged_bytes_per_s)} />
        <Flow way="down" width={job.checkpoint_at_ms === null ? 0 : 3} label={`last checkpoint, ${ago(job.checkpoint_at_ms, job.at_ms)}`} value={duration(job.checkpoint_duration_ms)} />
        {operator.restored_files_left || rates.range_fetches_per_s
          ? <Flow way="up" width={flowWidth(rates.range_fetched_bytes_per_s, fastest)} label="fetched from the checkpoint" value={byteRate(rates.range_fetched_bytes_per_s)} note={`${count(operator.restored_files_left)} files left`} />
          : null}
      </Flows>
      <Tier name="Checkpoint" test="tier-checkpoint" raw={shown.checkpointBytes} shown={shown} note={shown.checkpointBytes === null ? "none completed yet" : `${bytes(shown.checkpointBytes)}, all of the vertex`}>
        {shown.checkpointBytes ? <div class="strip t-checkpoint" style={{ width: wide(shown.checkpointBytes) }} title={`last checkpoint: ${bytes(shown.checkpointBytes)}`} /> : <div class="strip none" />}
      </Tier>
    </div>
  );
}

function Tier({ name, note, shown, children, test, raw, labelled }: {
  name: string; note: string; shown: Picture; children: ComponentChildren; test: string; raw: number | null; labelled?: boolean;
}) {
  return (
    <div class="tier" data-test={test} data-value={raw ?? ""}>
      <p class="tier-name"><b>{name}</b><span>{note}</span></p>
      <div class="lane">
        {children}
        {shown.marks.map((mark) => {
          const left = (mark * shown.budgetBytes) / shown.scaleBytes;
          return <em key={mark} class={mark === 1 ? "mark budget" : "mark"} style={{ left: `${left * 100}%` }} aria-hidden="true">{labelled && left <= 1 && <span class={left > 0.94 ? "before" : ""}>{mark}×</span>}</em>;
        })}
      </div>
    </div>
  );
}

/** The parts of the budget in figures, in the order of the strip. */
function Budget({ shown }: { shown: Picture }) {
  return (
    <ul class="shares">
      {shown.segments.map((part) => (
        <li key={part.key} data-test={`part-${part.key}`} data-value={part.bytes}>
          <i class={`t-${part.key}`} aria-hidden="true" />
          <span>{part.label}</span>
          <b>{bytes(part.bytes)}</b>
          <span class="dim">{share(part.bytes / shown.budgetBytes)}</span>
        </li>
      ))}
    </ul>
  );
}

function spoken(shown: Picture): string {
  const parts = shown.segments.filter((part) => part.bytes > 0).map((part) => `${part.label} ${bytes(part.bytes)}`);
  return `Memory, ${bytes(shown.budgetBytes)}: ${parts.join(", ")}`;
}

function Flows({ children }: { children: ComponentChildren }) {
  return <div class="flows">{children}</div>;
}

const WAYS = {
  down: ["M14 2V27", "M14 36 6 26h16z"],
  up: ["M14 36V11", "M14 2 6 12h16z"],
  round: ["M21.6 13.4A9.5 9.5 0 1 0 23.5 20", "M25.5 7v9.5H16z"],
  wait: ["M14 12v7l5 4", "M14 7a12 12 0 1 0 .01 0zm0 3a9 9 0 1 1-.01 0z"],
} as const;
const ROUND_WIDTH_MAX = 5; // a wider line would fill the circle

/** An arrow as wide as what flows, and its figure. */
function Flow({ way, width, label, value, note, test, raw }: {
  way: keyof typeof WAYS; width: number; label: string; value: string; note?: string; test?: string; raw?: number | null;
}) {
  const [line, head] = WAYS[way];
  const wide = Math.max(1.5, way === "down" || way === "up" ? width : Math.min(ROUND_WIDTH_MAX, width));
  return (
    <p class={width ? "flow" : "flow still"} data-test={test} data-value={raw ?? ""}>
      <svg width="28" height="38" viewBox="0 0 28 38" aria-hidden="true">
        <path d={line} class="pipe" stroke-width={wide} />
        {width > 0 && way !== "wait" && <path d={line} class="current" stroke-width={Math.max(1.5, wide / 3)} />}
        <path d={head} class="head" fill-rule="evenodd" />
      </svg>
      <span><b>{value}</b><span class="dim">{label}{note && <> · {note}</>}</span></span>
    </p>
  );
}
