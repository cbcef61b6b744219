import { Chart } from "../chart";
import { ago, bytes, clock, count, duration, rate } from "../fmt";
import type { LiveState } from "../live";
import type { Event, JobRow, Process, Topic } from "../model";
import { Empty, Panel, Spark, State, Tile, Unreachable, toneOf } from "../parts";
import { columns, sumColumns } from "../series";

/** Event → decision p99 that the platform promises. */
const LATENCY_BOUND_MS = 3000;
const SPARK_POINTS = 120;

export function OverviewPage({ live }: { live: LiveState }) {
  const now = live.overview;
  if (!now) return null;
  const history = live.overviewHistory;
  const rates = new Map(columns(history, "rate:"));
  const lags = columns(history, "lag:").map(([, values]) => values);
  const ods = now.topics.filter((topic) => topic.name.startsWith("ods."));
  const ingest = sumColumns(ods.map((topic) => rates.get(topic.name) ?? []));
  const known = <T,>(values: (T | null)[]): T[] => values.filter((value): value is T => value !== null);
  const total = (values: (number | null)[]): number | null => (known(values).length ? known(values).reduce((a, b) => a + b, 0) : null);
  const up = now.processes.filter((process) => toneOf(process.state) === "good");
  const restarts = now.processes.reduce((sum, process) => sum + process.restarts, 0);
  const running = now.jobs.filter((job) => job.state === "RUNNING");
  const lag = total(now.topics.map((topic) => topic.lag_records));
  const ingestNow = total(ods.map((topic) => topic.rate_records_per_s));
  const p99 = now.latency.p99_ms;
  const tail = (values: (number | null)[]) => values.slice(-SPARK_POINTS);
  return (
    <>
      <div class="page-head"><h1>Overview</h1><p class="note">{now.started_at_ms ? `up ${duration(now.at_ms - now.started_at_ms)}` : ""}</p></div>
      <Unreachable sources={now.sources} />
      <div class="tiles">
        <Tile label="Beacons in" value={rate(ingestNow)} raw={ingestNow} test="tile-ingest" note={`${count(total(ods.map((topic) => topic.records)))} in the log`}>
          <Spark values={tail(ingest)} />
        </Tile>
        <Tile label="Event → decision, p99" value={duration(p99)} raw={p99} test="tile-latency" tone={p99 !== null && p99 > LATENCY_BOUND_MS ? "bad" : undefined} note={`median ${duration(now.latency.p50_ms)} · ${now.latency.cells} cells`}>
          <Spark values={tail(history.values["latency_p99_ms"] ?? [])} max={LATENCY_BOUND_MS} />
        </Tile>
        <Tile label="Lag" value={count(lag)} raw={lag} test="tile-lag" note="records not yet read">
          <Spark values={tail(sumColumns(lags))} max={100} />
        </Tile>
        <Tile label="Processes up" value={`${up.length} of ${now.processes.length}`} raw={up.length} test="tile-processes" tone={up.length < now.processes.length ? "warn" : undefined} note={restarts ? `${restarts} restarted` : "none restarted"}>
          <Spark values={tail(history.values["cpu_ratio"] ?? [])} max={2} />
        </Tile>
        <Tile label="Jobs running" value={`${running.length} of ${now.jobs.length}`} raw={running.length} test="tile-jobs" tone={running.length < now.jobs.filter((job) => job.state !== "FINISHED" && job.state !== "CANCELED").length ? "warn" : undefined} note={`${total(now.jobs.map((job) => job.checkpoints_completed)) ?? 0} checkpoints`}>
          <Spark values={tail(sumColumns(columns(history, "job:").map(([, values]) => values)))} />
        </Tile>
      </div>
      <Panel title="From event to decision" note="how old new beacons are when they are first decided on" wide test="panel-latency">
        <Chart id="latency" title="" atMs={history.at_ms} windowS={live.historyS} nowMs={now.at_ms} format={duration} height={190} atLeast={1000}
          bound={{ value: LATENCY_BOUND_MS, label: "promise: p99 ≤ 3 s" }} marks={now.events.filter((event) => event.incident).map((event) => ({ atMs: event.at_ms, label: event.text }))}
          empty="No decision yet: the scheduler writes the first one when cells arrive"
          lines={[
            { label: "median", colour: "--accent", values: history.values["latency_p50_ms"] ?? [], dash: [4, 3] },
            { label: "p99", colour: "--accent", values: history.values["latency_p99_ms"] ?? [] },
          ]} />
      </Panel>
      <div class="columns">
        <div class="column">
          <Jobs jobs={now.jobs} nowMs={now.at_ms} />
          <Processes processes={now.processes} />
        </div>
        <div class="column">
          <Topics topics={now.topics} rates={rates} />
          <Journal events={now.events} nowMs={now.at_ms} />
        </div>
      </div>
    </>
  );
}

function Processes({ processes }: { processes: Process[] }) {
  return (
    <Panel title="Processes" test="panel-processes">
      {!processes.length ? <Empty>No process is known yet. <code>headrace up</code> starts the stack.</Empty> : (
        <div class="scroll"><table>
          <thead><tr><th>Name</th><th>State</th><th class="n">CPU</th><th class="n">Memory</th><th class="n roomy">Up</th><th class="n">Restarts</th><th class="n roomy">Pid</th></tr></thead>
          <tbody>
            {processes.map((process) => (
              <tr key={process.name} data-test={`process-${process.name}`}>
                <th scope="row" title={process.endpoint || undefined}>{process.name}</th>
                <td><State state={process.state} title={process.detail} /></td>
                <td class="n">{process.cpu_ratio === null ? "–" : `${Math.round(process.cpu_ratio * 100)}\u202f%`}</td>
                <td class="n">{bytes(process.rss_bytes)}</td>
                <td class="n roomy">{duration(process.uptime_ms)}</td>
                <td class={process.restarts ? "n warn-text" : "n"}>{process.restarts}</td>
                <td class="n dim roomy">{process.pid ?? "–"}</td>
              </tr>
            ))}
          </tbody>
        </table></div>
      )}
    </Panel>
  );
}

function Topics({ topics, rates }: { topics: Topic[]; rates: Map<string, (number | null)[]> }) {
  return (
    <Panel title="Topics" test="panel-topics">
      {!topics.length ? <Empty>No topic yet. <code>headrace table apply</code> makes them.</Empty> : (
        <div class="scroll"><table>
          <thead><tr><th>Name</th><th class="n">Rate</th><th /><th class="n">Lag</th><th class="n roomy">Records</th></tr></thead>
          <tbody>
            {topics.map((topic) => (
              <tr key={topic.name} data-test={`topic-${topic.name}`}>
                <th scope="row" title={`${topic.partitions} partitions`}>{topic.name}</th>
                <td class="n">{rate(topic.rate_records_per_s)}</td>
                <td class="spark-cell"><Spark values={(rates.get(topic.name) ?? []).slice(-SPARK_POINTS)} height={20} /></td>
                <td class="n" title={topic.lag_group || undefined}>{count(topic.lag_records)}</td>
                <td class="n dim roomy">{count(topic.records)}</td>
              </tr>
            ))}
          </tbody>
        </table></div>
      )}
    </Panel>
  );
}

function Jobs({ jobs, nowMs }: { jobs: JobRow[]; nowMs: number }) {
  return (
    <Panel title="Jobs" test="panel-jobs">
      {!jobs.length ? <Empty>No job runs yet. <code>headrace job deploy</code> starts one.</Empty> : (
        <div class="scroll"><table>
          <thead><JobHead /></thead>
          <tbody>{jobs.map((job) => <JobLine key={job.id} job={job} nowMs={nowMs} />)}</tbody>
        </table></div>
      )}
    </Panel>
  );
}

export function JobHead() {
  return (
    <tr><th>Name</th><th>State</th><th class="n">Records in</th><th class="n roomy">Up</th><th class="n">Restarts</th><th class="n roomy">Checkpoints</th><th class="n roomy">Last</th></tr>
  );
}

export function JobLine({ job, nowMs }: { job: JobRow; nowMs: number }) {
  return (
    <tr data-test={`job-${job.name}`}>
      <th scope="row"><a href={`#/jobs/${encodeURIComponent(job.name)}`}>{job.name}</a></th>
      <td><State state={job.state} title={`${job.tasks_running} of ${job.tasks_total} tasks running`} /></td>
      <td class="n">{rate(job.records_in_per_s)}</td>
      <td class="n roomy">{duration(job.uptime_ms)}</td>
      <td class={job.restarts ? "n warn-text" : "n"}>{job.restarts ?? "–"}</td>
      <td class="n roomy">{job.checkpoints_completed ?? "–"}{job.checkpoints_failed ? <span class="warn-text"> · {job.checkpoints_failed} failed</span> : ""}</td>
      <td class="n dim roomy">{ago(job.checkpoint_at_ms, nowMs)}</td>
    </tr>
  );
}

function Journal({ events, nowMs }: { events: Event[]; nowMs: number }) {
  return (
    <Panel title="Journal" note="every action, newest first" test="panel-journal">
      {!events.length ? <Empty>Nothing has happened yet.</Empty> : (
        <ol class="feed">
          {events.map((event) => (
            <li key={`${event.at_ms}${event.kind}${event.subject}`} class={event.incident ? "incident" : event.severity}>
              <time title={ago(event.at_ms, nowMs)}>{clock(event.at_ms)}</time>
              <span><b>{event.kind.replaceAll("_", " ")}</b> {event.text}</span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
