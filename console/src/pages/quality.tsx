import { Chart, type Line, type Mark } from "../chart";
import { cdnVar } from "../colours";
import { ago, bitrate, clock, count, duration, share } from "../fmt";
import type { LiveState } from "../live";
import type { Board, CdnQuality, Decision, Steer } from "../model";
import { Empty, Panel, Spark, Split, Tile, Unreachable } from "../parts";
import { WINDOWS_MIN, qualityHash, type Route } from "../route";
import { columns } from "../series";

type Colours = (cdn: string) => string;
/** A stall share above this is drawn as trouble. */
const STALL_BAD = 0.05;

export function QualityPage({ live, route }: { live: LiveState; route: Route }) {
  const board = live.quality;
  if (!board) return null;
  const history = live.qualityHistory;
  const names = board.cdns.map((cdn) => cdn.cdn);
  const colours: Colours = (cdn) => cdnVar(cdn, names);
  const lines = (prefix: string): Line[] => columns(history, prefix).map(([cdn, values]) => ({ label: cdn, colour: colours(cdn), values }));
  const marks: Mark[] = board.incidents.map((event) => ({ atMs: event.at_ms, label: event.text }));
  const common = { atMs: history.at_ms, windowS: route.minutes * 60, nowMs: board.at_ms, marks };
  const inflight = board.cdns.map((cdn) => cdn.inflight_age_ms_max).filter((age) => age !== null);
  return (
    <>
      <div class="page-head">
        <h1>Live quality</h1>
        <p class="note">{board.cell_at_ms ? `cells of ${clock(board.cell_at_ms)}, ${ago(board.cell_at_ms, board.at_ms)}` : "no cell yet"}</p>
        <Selectors board={board} route={route} />
      </div>
      <Unreachable sources={board.sources} />
      {!board.cdns.length ? (
        <Panel title="No session yet"><Empty>The board fills as soon as players report. <code>headrace demo</code> replays thousands of recorded ones.</Empty></Panel>
      ) : (
        <>
          <div class="tiles">
            <Tile label="Sessions" value={count(board.sessions)} raw={board.sessions} test="sessions" note={`${board.cdns.length} CDNs · ${board.steers.length} cells steered`} />
            <Tile label="Stalled now" value={share(board.stall_share)} raw={board.stall_share} test="stall-share" tone={(board.stall_share ?? 0) > STALL_BAD ? "bad" : undefined} note="of sessions, all CDNs" />
            <Tile label="Oldest fetch in flight" value={inflight.length ? duration(Math.max(...inflight)) : board.sessions === null ? "–" : "none late"} note="a segment lasts 1 s" />
            <Tile label="Last decision" value={board.decisions[0] ? ago(board.decisions[0].at_ms, board.at_ms) : "–"} note={board.decisions[0]?.reason ?? "none yet"} />
          </div>
          <div class="cdns">
            {board.cdns.map((cdn) => <CdnCard key={cdn.cdn} cdn={cdn} colour={colours(cdn.cdn)} stalls={history.values[`stall_share:${cdn.cdn}`] ?? []} />)}
          </div>
          <div class="columns even">
            <Panel title="Weights" note="share of new segment requests that steering sends to each CDN" test="panel-weights">
              <Chart id="weights" title="" {...common} stacked max={1} format={share} lines={lines("weight:")} height={220} empty="No decision yet" />
            </Panel>
            <Panel title="Stall share" note="sessions that wait for media" test="panel-stalls">
              <Chart id="stalls" title="" {...common} format={share} atLeast={0.05} lines={lines("stall_share:")} height={220} />
            </Panel>
            <Panel title="Sessions"><Chart id="sessions" title="" {...common} format={count} lines={lines("sessions:")} filled height={180} /></Panel>
            <Panel title="Oldest fetch in flight"><Chart id="inflight" title="" {...common} format={duration} atLeast={1000} lines={lines("inflight_age_ms:")} height={180} /></Panel>
          </div>
          <div class="columns">
            <Decisions decisions={board.decisions} colours={colours} />
            <Steers steers={board.steers} colours={colours} nowMs={board.at_ms} />
          </div>
        </>
      )}
    </>
  );
}

function Selectors({ board, route }: { board: Board; route: Route }) {
  const pick = (key: "region" | "isp" | "room", label: string, options: string[]) => (
    <label>
      <span>{label}</span>
      <select value={route[key]} data-test={`select-${key}`} onChange={(event) => { location.hash = qualityHash(route, { [key]: event.currentTarget.value }); }}>
        <option value="">all</option>
        {[...new Set(route[key] ? [...options, route[key]] : options)].map((option) => <option key={option} value={option}>{option}</option>)}
      </select>
    </label>
  );
  return (
    <form class="selectors" onSubmit={(event) => event.preventDefault()}>
      {pick("region", "Region", board.regions)}
      {pick("isp", "ISP", board.isps)}
      {pick("room", "Room", board.rooms)}
      <span class="segmented" role="group" aria-label="Time window">
        {WINDOWS_MIN.map((minutes) => (
          <a key={minutes} href={qualityHash(route, { minutes })} aria-current={minutes === route.minutes ? "true" : undefined}>{minutes} min</a>
        ))}
      </span>
    </form>
  );
}

function CdnCard({ cdn, colour, stalls }: { cdn: CdnQuality; colour: string; stalls: (number | null)[] }) {
  const bad = (cdn.stall_share ?? 0) > STALL_BAD;
  const facts: [string, string, string][] = [
    ["Join, median", duration(cdn.join_p50_ms), "join-p50"],
    ["Join, p95", duration(cdn.join_p95_ms), "join-p95"],
    ["Bitrate", bitrate(cdn.bitrate_kbps), "bitrate"],
    ["Rebuffer ratio", share(cdn.rebuffer_ratio), "rebuffer"],
    ["Late in flight", cdn.sessions !== null && cdn.inflight_age_ms_max === null ? "none" : duration(cdn.inflight_age_ms_max), "inflight"],
    ["Errors", cdn.errors_per_s === null ? "–" : `${count(cdn.errors_per_s)}\u202f/s`, "errors"],
  ];
  return (
    <article class={bad ? "cdn bad" : "cdn"} style={{ "--cdn": `var(${colour})` }} data-test={`cdn-${cdn.cdn}`}>
      <header>
        <h2><i aria-hidden="true" />CDN {cdn.cdn}</h2>
        <p class="cdn-weight" data-test="weight" data-value={cdn.weight ?? ""}><b>{share(cdn.weight)}</b> of traffic</p>
      </header>
      <div class="meter" aria-hidden="true"><i style={{ width: `${(cdn.weight ?? 0) * 100}%` }} /></div>
      <div class="cdn-main">
        <p data-test="sessions" data-value={cdn.sessions ?? ""}><b>{count(cdn.sessions)}</b><span>sessions</span></p>
        <p data-test="stall-share" data-value={cdn.stall_share ?? ""} class={bad ? "bad-text" : ""}><b>{share(cdn.stall_share)}</b><span>stalled{bad ? " ▲" : ""}</span></p>
        <Spark values={stalls.slice(-120)} colour={colour} max={STALL_BAD} height={40} />
      </div>
      <dl class="facts">
        {facts.map(([label, value, test]) => <div key={test} data-test={test}><dt>{label}</dt><dd>{value}</dd></div>)}
      </dl>
    </article>
  );
}

function Decisions({ decisions, colours }: { decisions: Decision[]; colours: Colours }) {
  return (
    <Panel title="Decision log" note="what the scheduler changed and why" test="panel-decisions">
      {!decisions.length ? <Empty>No decision yet. The scheduler writes one when it moves weight, with its inputs and reason.</Empty> : (
        <ol class="decisions">
          {decisions.map((decision) => (
            <li key={`${decision.at_ms}${decision.region}${decision.isp}${decision.version}`} data-test="decision">
              <time>{clock(decision.at_ms)}</time>
              <span class="cell">{decision.region} · {decision.isp}</span>
              <span class="move">
                {Object.keys(decision.before).length > 0 && <Split weights={decision.before} colours={colours} thin />}
                <Split weights={decision.weights} colours={colours} />
              </span>
              <span class="numbers">{moved(decision)}</span>
              <span class="why">{decision.reason}</span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

/** "A 70 → 55 %, B 30 → 45 %", or only the new weights when the old ones are not known. */
function moved(decision: Decision): string {
  const percent = (value: number | undefined) => Math.round((value ?? 0) * 100);
  const known = Object.keys(decision.before).length > 0;
  return Object.keys(decision.weights).sort()
    .map((cdn) => `${cdn} ${known ? `${percent(decision.before[cdn])} → ` : ""}${percent(decision.weights[cdn])}\u202f%`).join(" · ");
}

function Steers({ steers, colours, nowMs }: { steers: Steer[]; colours: Colours; nowMs: number }) {
  return (
    <Panel title="Steering now" note="what players of each cell are told" test="panel-steers">
      {!steers.length ? <Empty>No steering key is set; players use their default order.</Empty> : (
        <ul class="steers">
          {steers.map((steer) => (
            <li key={`${steer.region}|${steer.isp}`} title={steer.reason || undefined}>
              <span class="cell">{steer.region} · {steer.isp}</span>
              <Split weights={steer.weights} colours={colours} />
              <span class="dim">{ago(steer.at_ms, nowMs)}{steer.ttl_s !== null && ` · TTL ${steer.ttl_s}\u202fs`}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
