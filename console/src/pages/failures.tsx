import { PHASES, MOMENTS, beganMs, phases, quantile, scaleMs, since, ticksMs } from "../failures";
import { ago, clock, count, duration } from "../fmt";
import type { LiveState } from "../live";
import type { Failure, Failures, MomentName } from "../model";
import { Empty, Loading, Panel, Tile, Unreachable } from "../parts";

const DAY_MS = 86_400_000;

export function FailuresPage({ live }: { live: LiveState }) {
  const now = live.failures;
  if (!now) return <><div class="page-head"><h1>Failures</h1></div><Loading what="failures" /></>;
  const { failures } = now;
  const known = (name: MomentName): number[] => failures.map((failure) => since(failure, name)).filter((value) => value !== null);
  const found = known("verdict");
  // Only where work had stopped: a fault that costs no restart lets all keys flow at once.
  const flows = failures.filter((failure) => failure.moments.restarting !== undefined).map((failure) => since(failure, "flowing")).filter((value) => value !== null);
  const books = failures.filter((failure) => failure.lost !== null || failure.doubled !== null);
  const lost = books.length ? Math.max(...books.map((failure) => failure.lost ?? 0)) : null;
  const doubled = books.length ? Math.max(...books.map((failure) => failure.doubled ?? 0)) : null;
  const spanMs = scaleMs(failures);
  return (
    <>
      <div class="page-head"><h1>Failures</h1><p class="note">what was lost, how soon it was found, when work went on</p></div>
      <Unreachable sources={now.sources} />
      <Alarms now={now} />
      <div class="tiles">
        <Tile label="Failures" value={String(failures.length)} raw={failures.length} test="tile-failures" note={failures[0] ? `last ${ago(beganMs(failures[0]), now.at_ms)}` : "none so far"} />
        <Tile label="Found after" value={duration(quantile(found, 0.5))} raw={quantile(found, 0.5)} test="tile-found" note={found.length ? `median of ${found.length}, slowest ${duration(quantile(found, 1))}` : "no fault was recorded"} />
        <Tile label="Flows again after" value={duration(quantile(flows, 0.5))} raw={quantile(flows, 0.5)} test="tile-flows" note={flows.length ? `median of ${flows.length}, slowest ${duration(quantile(flows, 1))}` : "no recorded fault stopped a job"} />
        <Tile label="Records lost · doubled" value={`${count(lost)} · ${count(doubled)}`} raw={lost === null ? null : lost + (doubled ?? 0)} test="tile-books" tone={lost || doubled ? "bad" : undefined} note={books.length ? "by the books of recorded runs" : "no books were kept"} />
        <Tile label="Suspicions that passed" value={String(now.passed)} raw={now.passed} test="tile-passed" note="silent for a while, not convicted" />
      </div>
      <Panel title="Timelines" wide test="panel-timelines" note={failures.length ? "newest first, to one scale, from the fault or from its first sign" : undefined}>
        {!failures.length ? (
          <Empty>No failure so far. What Hawk sees is written to <code>run/*.events</code> of this home; <code>headrace chaos kill taskmanager-1</code> makes one to look at.</Empty>
        ) : (
          <>
            <p class="phase-keys note">{MOMENTS.map(([name]) => PHASES[name] && <span key={name}><i class={`p-${name}`} />{PHASES[name]}</span>)}</p>
            <ol class="failures">{failures.map((failure) => <Line key={failure.id} failure={failure} spanMs={spanMs} nowMs={now.at_ms} />)}</ol>
          </>
        )}
      </Panel>
    </>
  );
}

/** What somebody should look at now: verdicts that the brake holds, what does not answer, hosts whose loss would leave tasks without a slot. */
function Alarms({ now }: { now: Failures }) {
  const { held, exposed, dependencies_down: down } = now;
  const alone = Object.entries(now.unreachable)
    .map(([host, names]) => ({ host, names: names.filter((name) => !down.includes(name)) }))
    .filter(({ names }) => names.length > 0);
  if (!held.length && !exposed.length && !down.length && !alone.length) return null;
  return (
    <div class="gone" role="status" data-test="alarms">
      {down.length > 0 && <p><strong>No answer</strong> from {down.join(", ")} to most hosts<span class="note"> · jobs that read from there hear nothing, and fail nothing: look there, not at the hosts</span></p>}
      {alone.length > 0 && <p><strong>No way</strong> {alone.map(({ host, names }) => `from ${host} to ${names.join(", ")}`).join("; ")}<span class="note"> · other hosts are answered: look at its network</span></p>}
      {held.length > 0 && <p><strong>Verdicts are held</strong> on {held.join(", ")}<span class="note"> · too many hosts are silent at once: look at the network</span></p>}
      {exposed.length > 0 && <p><strong>No spare slots</strong> for the loss of {exposed.join(", ")}<span class="note"> · add TaskManagers; until then its jobs would wait, or run smaller</span></p>}
    </div>
  );
}

function Line({ failure, spanMs, nowMs }: { failure: Failure; spanMs: number; nowMs: number }) {
  const began = beganMs(failure);
  const lengths = phases(failure);
  const words = lengths.map((phase) => `${PHASES[phase.name] ?? phase.name} ${duration(phase.toMs - phase.fromMs)}`).join(", ");
  const broken = Boolean(failure.lost || failure.doubled);
  return (
    <li data-test="failure">
      <p class="failure-name">
        <b>{failure.what.replaceAll("_", " ")}</b>
        <span>{failure.process ? `${failure.process} on ${failure.host}` : failure.host}</span>
        <time title={ago(began, nowMs)}>{nowMs - began < DAY_MS ? clock(began) : ago(began, nowMs)}</time>
        <span class="dim">{failure.source === "recorded" ? "injected" : failure.votes.length ? `convicted by ${failure.votes.join(", ")}` : "told by its agent"}</span>
        {failure.restarts !== null && <span class={failure.restarts > 1 ? "warn-text" : "dim"}>{failure.restarts === 1 ? "1 restart" : `${failure.restarts} restarts`}</span>}
        {failure.lost !== null && <span class={broken ? "bad-text" : "dim"} data-test="books">{count(failure.lost)} lost, {count(failure.doubled)} doubled</span>}
        {failure.note && <span class="dim">{failure.note}</span>}
      </p>
      <div class="track" role="img" aria-label={words || "one moment only"}>
        {ticksMs(spanMs).map((at) => <i key={at} class="tick" style={{ left: `${(at / spanMs) * 100}%` }}><span>{at ? duration(at) : "0"}</span></i>)}
        <span class="phases">{lengths.filter((phase) => phase.fromMs < spanMs).map((phase) => (
          <i key={phase.name} class={`phase p-${phase.name}${phase.toMs > spanMs ? " cut" : ""}`} data-test={`phase-${phase.name}`} title={`${PHASES[phase.name] ?? phase.name}: ${duration(phase.toMs - phase.fromMs)}`}
            style={{ left: `${(phase.fromMs / spanMs) * 100}%`, width: `${((Math.min(phase.toMs, spanMs) - phase.fromMs) / spanMs) * 100}%` }} />
        ))}
        {!lengths.length && <i class="phase p-verdict point" />}</span>
      </div>
      <dl class="moments">
        {MOMENTS.filter(([name]) => name !== "fault").map(([name, label]) => {
          const at = failure.moments[name];
          return <div key={name}><dt>{label}</dt><dd data-test={`moment-${name}`} data-value={at === undefined ? "" : at - began} title={at === undefined ? "nobody recorded it" : clock(at)}>{at === undefined ? "–" : duration(at - began)}</dd></div>;
        })}
      </dl>
    </li>
  );
}
