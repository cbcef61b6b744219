// Small parts that all pages share.
import type { ComponentChildren } from "preact";
import type { Reach } from "./model";
import { clock } from "./fmt";

const GOOD = new Set(["running", "finished", "ok", "completed", "up", "ready", "healthy"]);
const BAD = new Set(["failed", "failing", "crashed", "dead", "unreachable", "lost", "error", "exited", "backoff"]);

export type Tone = "good" | "bad" | "warn" | "calm";

export function toneOf(state: string): Tone {
  const word = state.toLowerCase();
  if (GOOD.has(word)) return "good";
  if (BAD.has(word)) return "bad";
  return word === "canceled" || word === "stopped" || word === "waiting" ? "calm" : "warn";
}

/** A state in words with a shape beside it, so that colour is never the only sign. */
export function State({ state, title }: { state: string; title?: string }) {
  const tone = toneOf(state);
  return <span class={`state ${tone}`} title={title || undefined}><i aria-hidden="true" />{state.toLowerCase().replaceAll("_", " ")}</span>;
}

export function Panel({ title, note, children, test, wide }: { title: string; note?: ComponentChildren; children: ComponentChildren; test?: string; wide?: boolean }) {
  return (
    <section class={wide ? "panel wide" : "panel"} data-test={test}>
      <header class="panel-head"><h2>{title}</h2>{note && <span class="note">{note}</span>}</header>
      {children}
    </section>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

export function Tile({ label, value, note, tone, test, raw, children }: {
  label: string; value: string; note?: ComponentChildren; tone?: Tone | undefined; test?: string; raw?: number | string | null | undefined; children?: ComponentChildren;
}) {
  return (
    <div class={`tile ${tone ?? ""}`} data-test={test} data-value={raw ?? ""}>
      <span class="tile-label">{label}</span>
      <span class="tile-value">{value}</span>
      {note && <span class="tile-note">{note}</span>}
      {children}
    </div>
  );
}

/** A line without axes: the shape of the last minutes. */
export function Spark({ values, colour = "--accent", max, height = 34 }: { values: (number | null)[]; colour?: string; max?: number; height?: number }) {
  const width = 120;
  const top = Math.max(max ?? 0, ...values.map((value) => value ?? 0)) || 1;
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null) { pen = false; return; }
    path += `${pen ? "L" : "M"}${(index * step).toFixed(1)} ${(height - 2 - (value / top) * (height - 5)).toFixed(1)}`;
    pen = true;
  });
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true" style={{ height: `${height}px` }}>
      <path d={path} fill="none" stroke={`var(${colour})`} stroke-width="1.5" vector-effect="non-scaling-stroke" stroke-linejoin="round" />
    </svg>
  );
}

/** What cannot be asked right now, and since when; nothing when all answers. */
export function Unreachable({ sources }: { sources: Reach[] }) {
  const gone = sources.filter((source) => source.state === "unreachable");
  if (!gone.length) return null;
  return (
    <div class="gone" role="status" data-test="unreachable">
      {gone.map((source) => (
        <p key={source.name}>
          <strong>{NAMES[source.name] ?? source.name}</strong> unreachable since <time>{clock(source.since_ms)}</time>
          <span class="note"> · {source.last_ok_ms ? `its figures are from ${clock(source.last_ok_ms)}` : "no figures from it yet"}{source.error && ` · ${source.error}`}</span>
        </p>
      ))}
    </div>
  );
}

const NAMES: Record<string, string> = {
  supervisor: "Supervisor", flink: "Flink", kafka: "Kafka", cells: "Cells (dws.cell_1s)", olap: "OLAP store", redis: "Decision store", journal: "Journal", failures: "Failures' logs",
};

export function Loading({ what }: { what: string }) {
  return (
    <div class="loading" role="status" aria-label={`Loading ${what}`}>
      <div class="skeleton tiles" /><div class="skeleton tall" /><div class="skeleton" />
    </div>
  );
}

/** A weight vector as one bar; the numbers are in its label. */
export function Split({ weights, colours, thin }: { weights: Record<string, number>; colours: (cdn: string) => string; thin?: boolean }) {
  const parts = Object.entries(weights).sort(([a], [b]) => a.localeCompare(b));
  const words = parts.map(([cdn, weight]) => `${cdn} ${Math.round(weight * 100)} %`).join(", ");
  return (
    <span class={thin ? "split thin" : "split"} role="img" aria-label={words} title={words}>
      {parts.map(([cdn, weight]) => <i key={cdn} style={{ flexGrow: weight, background: `var(${colours(cdn)})` }} />)}
    </span>
  );
}
