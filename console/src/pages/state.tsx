import { useEffect, useRef } from "preact/hooks";
import { Chart } from "../chart";
import { byteRate, bytes, count, plainName, rate, share, times } from "../fmt";
import type { LiveState } from "../live";
import type { JobRow, JobState, OperatorState, Series } from "../model";
import { Empty, Loading, Panel, State, Tile, Unreachable } from "../parts";
import { Tiers } from "../picture";
import { stateHash, type Route } from "../route";
import { chooseOperator, hits, ownBytes, sentence, totalBytes, writeAmplification } from "../tiers";

export function StatePage({ live, route }: { live: LiveState; route: Route }) {
  const jobs = live.jobs?.jobs ?? [];
  const first = (jobs.find((job) => job.state === "RUNNING") ?? jobs[0])?.name ?? "";
  // The address names the job from then on: another job that starts does not take the page.
  useEffect(() => {
    if (!route.state_of && first) location.replace(stateHash(first));
  }, [route.state_of, first]);
  const state = live.state?.job === route.state_of ? live.state : null;
  const sources = state?.sources ?? live.overview?.sources.filter((source) => source.name === "flink") ?? [];
  return (
    <>
      <div class="page-head">
        <h1>State</h1>
        {route.state_of && <p class="note">{state && <State state={state.state} />}<a href={`#/jobs/${encodeURIComponent(route.state_of)}`}>Job page</a></p>}
        {jobs.length > 0 && <JobChoice jobs={jobs} chosen={route.state_of} />}
      </div>
      <Unreachable sources={sources} />
      {state ? <JobStateView state={state} history={live.stateHistory} route={route} />
        : !jobs.length ? <Panel title="No job"><Empty>State belongs to jobs, and none runs yet. <code>headrace job deploy</code> starts one.</Empty></Panel>
        : jobs.some((job) => job.name === route.state_of) || !route.state_of ? <Loading what="state" />
        : <Panel title="Unknown job"><Empty>No job has this name. <a href="#/jobs">See all jobs.</a></Empty></Panel>}
    </>
  );
}

function JobChoice({ jobs, chosen }: { jobs: JobRow[]; chosen: string }) {
  const names = [...new Set([...jobs.map((job) => job.name), ...(chosen ? [chosen] : [])])].sort();
  return (
    <div class="selectors">
      <label>
        <span>Job</span>
        <select value={chosen} data-test="select-job" onChange={(event) => { location.hash = stateHash(event.currentTarget.value); }}>
          {names.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
    </div>
  );
}

function JobStateView({ state, history, route }: { state: JobState; history: Series; route: Route }) {
  const settled = useRef("");
  if (state.state !== "RUNNING") {
    return <Panel title="Not running"><Empty>The job is {state.state.toLowerCase().replaceAll("_", " ")}. Its state is in its last checkpoint; the tiers show once it runs.</Empty></Panel>;
  }
  const chosen = chooseOperator(state.operators, route.operator, settled.current);
  if (!chosen) {
    return (
      <Panel title="No state in SlimBase" test="panel-no-state">
        <Empty>No operator of this job reports SlimBase state: it keeps none, or its head names another <code>state.backend.type</code>. A job that has just started reports within some seconds.</Empty>
      </Panel>
    );
  }
  settled.current = chosen.id;
  return (
    <>
      {state.operators.length > 1 && <OperatorChoice state={state} chosen={chosen} />}
      <Operator key={chosen.id} job={state} operator={chosen} history={history} />
    </>
  );
}

function OperatorChoice({ state, chosen }: { state: JobState; chosen: OperatorState }) {
  const most = Math.max(1, ...state.operators.map(totalBytes));
  return (
    <nav class="operators" aria-label="Operators with state">
      {state.operators.map((operator) => (
        <a key={operator.id} href={stateHash(state.job, operator.id)} aria-current={operator.id === chosen.id ? "true" : undefined} data-test="operator" title={operator.vertex_name}>
          <b>{plainName(operator.name)}</b>
          <span class="dim">{bytes(totalBytes(operator))}</span>
          <span class="bar" aria-hidden="true" style={{ width: `${(totalBytes(operator) / most) * 100}%` }}>
            <i class="t-records" style={{ flexGrow: ownBytes(operator) }} /><i class="t-files" style={{ flexGrow: operator.file_bytes ?? 0 }} />
          </span>
        </a>
      ))}
    </nav>
  );
}

function Operator({ job, operator, history }: { job: JobState; operator: OperatorState; history: Series }) {
  const { text, tone } = sentence(operator);
  const { readsPerMiss, useful } = hits(operator);
  const amplification = writeAmplification(operator);
  const column = (name: string) => history.values[`${name}:${operator.id}`] ?? [];
  const common = { atMs: history.at_ms, windowS: 300, nowMs: job.at_ms, height: 150, axisWidth: 76 };
  const filterShare = operator.file_bytes ? (operator.file_index_bytes ?? 0) / operator.file_bytes : null;
  const perRecord = operator.records ? ((operator.index_bytes ?? 0) + (operator.file_index_bytes ?? 0)) / operator.records : null;
  const hasFiles = (operator.file_bytes ?? 0) > 0;
  return (
    <>
      <section class="panel wide" data-test="panel-tiers" data-operator={operator.id}>
        <header class="panel-head"><h2 title={operator.vertex_name}>{plainName(operator.name)}</h2><span class="note">{operator.parallelism} {operator.parallelism === 1 ? "subtask" : "subtasks"} · figures are their sums</span></header>
        <p class={`saying ${tone}`} role="status" data-test="saying">{text}</p>
        <Tiers operator={operator} job={job} />
      </section>
      <div class="tiles">
        <Tile label="Reads that found the record" value={hasFiles ? share(useful) : "–"} raw={useful} test="hit-files" note={hasFiles ? "the others were let through in vain" : "no file is read"} />
        <Tile label="Reads per miss" value={hasFiles && readsPerMiss !== null ? readsPerMiss.toFixed(2) : "–"} raw={readsPerMiss} test="reads-per-miss" note="of a lookup that memory cannot answer" />
        <Tile label="Write amplification" value={times(amplification)} raw={amplification} test="amplification" note="bytes written to files per byte of change" />
        <Tile label="Index a record" value={perRecord === null ? "–" : `${perRecord.toFixed(1)} B`} raw={perRecord} test="index-per-record" note={hasFiles ? `of ${count(operator.records)}; filters are ${share(filterShare)} of the files` : `of ${count(operator.records)}`} />
      </div>
      <div class="columns even">
        <Panel title="Bytes" note="mean of ten seconds" test="panel-bytes">
          <Chart id="state-bytes" title="" {...common} format={byteRate} atLeast={1024} lines={[
            { label: "changed", colour: "--ink-3", values: column("appended_bytes_per_s"), dash: [4, 3] },
            { label: "packed", colour: "--tier-memory", values: column("packed_bytes_per_s") },
            { label: "merged", colour: "--tier-files", values: column("merged_bytes_per_s") },
          ]} />
        </Panel>
        <Panel title="What lookups ask of files" note={hasFiles ? `${count(operator.run_count_max)} runs at most, whose filters let few through` : "nothing: there is no file"}>
          <Chart id="state-lookups" title="" {...common} format={rate} atLeast={10} lines={[
            { label: "not in memory", colour: "--tier-memory", values: column("file_lookups_per_s"), dash: [4, 3] },
            { label: "reads", colour: "--tier-files", values: column("file_reads_per_s") },
          ]} />
        </Panel>
      </div>
    </>
  );
}
