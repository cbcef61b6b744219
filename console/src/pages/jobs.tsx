import { useEffect, useRef, useState } from "preact/hooks";
import { ago, bytes, clock, count, duration, plainName, rate, share } from "../fmt";
import { layoutGraph } from "../layout";
import type { LiveState } from "../live";
import type { Checkpoint, JobDetail, JobException, Vertex } from "../model";
import { Empty, Loading, Panel, State, Tile, Unreachable } from "../parts";
import { stateHash, type Route } from "../route";
import { JobHead, JobLine } from "./overview";

export function JobsPage({ live, route }: { live: LiveState; route: Route }) {
  const jobs = live.jobs;
  if (!jobs) return null;
  if (!route.job) {
    return (
      <>
        <div class="page-head"><h1>Jobs</h1></div>
        <Unreachable sources={live.overview?.sources.filter((source) => source.name === "flink") ?? []} />
        <Panel title="All jobs" wide>
          {!jobs.jobs.length ? <Empty>No job runs yet. <code>headrace job deploy</code> starts a pipeline of your project.</Empty> : (
            <div class="scroll"><table>
              <thead><JobHead /></thead>
              <tbody>{jobs.jobs.map((job) => <JobLine key={job.id} job={job} nowMs={jobs.at_ms} />)}</tbody>
            </table></div>
          )}
        </Panel>
      </>
    );
  }
  const detail = jobs.detail;
  if (!detail || detail.job.name !== route.job) {
    const exists = jobs.jobs.some((job) => job.name === route.job);
    return (
      <>
        <div class="page-head"><h1><a href="#/jobs">Jobs</a> / {route.job}</h1></div>
        {exists ? <Loading what="job" /> : <Panel title="Unknown job"><Empty>No job has this name. <a href="#/jobs">See all jobs.</a></Empty></Panel>}
      </>
    );
  }
  return <JobPage detail={detail} />;
}

function JobPage({ detail }: { detail: JobDetail }) {
  const { job } = detail;
  const done = detail.checkpoints.find((checkpoint) => checkpoint.state === "COMPLETED");
  const busiest = Math.max(-1, ...detail.vertices.map((vertex) => vertex.busy ?? -1));
  return (
    <>
      <div class="page-head"><h1><a href="#/jobs">Jobs</a> / {job.name}</h1><p class="note"><State state={job.state} /> {job.id.slice(0, 8)} <a href={stateHash(job.name)} data-test="state-link">Where its state is</a></p></div>
      <Unreachable sources={detail.sources} />
      <div class="tiles">
        <Tile label="Up" value={duration(job.uptime_ms)} note={`since ${clock(job.started_at_ms)}`} />
        <Tile label="Restarts" value={job.restarts === null ? "–" : String(job.restarts)} raw={job.restarts} test="restarts" tone={job.restarts ? "warn" : undefined} note={detail.restored_checkpoint === null ? "never restored" : `restored from checkpoint ${detail.restored_checkpoint}`} />
        <Tile label="Records in" value={rate(job.records_in_per_s)} raw={job.records_in_per_s} test="records-in" note={`${job.tasks_running} of ${job.tasks_total} tasks run`} />
        <Tile label="Busiest vertex" value={busiest < 0 ? "–" : share(busiest)} tone={busiest > 0.9 ? "warn" : undefined} note="of its subtask's time" />
        <Tile label="Last checkpoint" value={done ? ago(done.at_ms, detail.at_ms) : "–"} note={done ? `${duration(done.duration_ms)} · ${bytes(done.full_size_bytes ?? done.size_bytes)}` : "none completed"} />
      </div>
      <Panel title="Graph" wide test="panel-graph" note={<span class="keys"><i class="k-busy" />busy <i class="k-pressed" />back-pressured <i class="k-idle" />idle</span>}>
        {detail.vertices.length ? <Graph vertices={detail.vertices} nowMs={detail.at_ms} /> : <Empty>The job's graph is not known.</Empty>}
      </Panel>
      <div class="columns">
        <Checkpoints checkpoints={detail.checkpoints} job={detail} />
        <Exceptions exceptions={detail.exceptions} nowMs={detail.at_ms} />
      </div>
    </>
  );
}

const NODE = { width: 236, widthMin: 140, height: 112, gapAcross: 22, gapAlong: 64 };

function Graph({ vertices, nowMs }: { vertices: Vertex[]; nowMs: number }) {
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(1000);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const layout = layoutGraph(vertices);
  const flat = width > 700; // left to right where there is room, else top to bottom with nodes as narrow as need be
  const fitting = (width - 40 - (layout.rows - 1) * NODE.gapAcross) / layout.rows;
  const nodeWidth = flat ? NODE.width : Math.max(NODE.widthMin, Math.min(NODE.width, fitting));
  const along = layout.layers * NODE.width + (layout.layers - 1) * NODE.gapAlong;
  const place = (layer: number, row: number): [number, number] => flat
    ? [layer * (NODE.width + NODE.gapAlong), row * (NODE.height + NODE.gapAcross)]
    : [row * (nodeWidth + NODE.gapAcross), layer * (NODE.height + NODE.gapAlong / 2)];
  const size: [number, number] = flat
    ? [along, layout.rows * (NODE.height + NODE.gapAcross) - NODE.gapAcross]
    : [layout.rows * (nodeWidth + NODE.gapAcross) - NODE.gapAcross, layout.layers * (NODE.height + NODE.gapAlong / 2) - NODE.gapAlong / 2];
  const at = new Map(layout.nodes.map((node) => [node.vertex.id, place(node.layer, node.row)]));
  const fastest = Math.max(1, ...vertices.map((vertex) => vertex.records_out_per_s ?? 0));
  return (
    <div class="graph" ref={host} tabIndex={0} role="group" aria-label="Job graph">
      <div class="graph-plane" style={{ width: `${size[0]}px`, height: `${size[1]}px` }}>
        <svg width={size[0]} height={size[1]} aria-hidden="true">
          {vertices.flatMap((vertex) => vertex.inputs.map((input) => {
            const from = at.get(input);
            const to = at.get(vertex.id);
            if (!from || !to) return null;
            const speed = vertices.find((other) => other.id === input)?.records_out_per_s ?? 0;
            return <path key={`${input}${vertex.id}`} d={edge(from, to, flat, nodeWidth)} class={speed ? "edge flowing" : "edge"} stroke-width={1.5 + 4 * Math.sqrt(speed / fastest)} />;
          }))}
        </svg>
        {layout.nodes.map(({ vertex }) => <Node key={vertex.id} vertex={vertex} at={at.get(vertex.id) ?? [0, 0]} width={nodeWidth} nowMs={nowMs} />)}
      </div>
    </div>
  );
}

function edge([x1, y1]: [number, number], [x2, y2]: [number, number], flat: boolean, width: number): string {
  if (flat) {
    const [a, b, c, d] = [x1 + width, y1 + NODE.height / 2, x2, y2 + NODE.height / 2];
    return `M${a} ${b}C${(a + c) / 2} ${b} ${(a + c) / 2} ${d} ${c} ${d}`;
  }
  const [a, b, c, d] = [x1 + width / 2, y1 + NODE.height, x2 + width / 2, y2];
  return `M${a} ${b}C${a} ${(b + d) / 2} ${c} ${(b + d) / 2} ${c} ${d}`;
}

function Node({ vertex, at, width, nowMs }: { vertex: Vertex; at: [number, number]; width: number; nowMs: number }) {
  const [busy, pressed, idle] = [vertex.busy, vertex.back_pressured, vertex.idle];
  const lag = vertex.watermark_ms === null ? null : nowMs - vertex.watermark_ms;
  return (
    <div class={`node ${vertex.state.toLowerCase()}`} data-test={`vertex-${vertex.id}`} style={{ left: `${at[0]}px`, top: `${at[1]}px`, width: `${width}px`, height: `${NODE.height}px` }} title={vertex.name}>
      <p class="node-name">{plainName(vertex.name)}</p>
      <p class="node-line"><State state={vertex.state} /><span>×{vertex.parallelism}</span>{lag !== null && <span title="how far the watermark is behind">wm −{duration(lag)}</span>}</p>
      <p class="node-line"><span>in {rate(vertex.records_in_per_s)}</span><span>out {rate(vertex.records_out_per_s)}</span></p>
      <div class="load" role="img" aria-label={`busy ${share(busy)}, back-pressured ${share(pressed)}, idle ${share(idle)}`} title={`busy ${share(busy)} · back-pressured ${share(pressed)} · idle ${share(idle)}`}>
        {busy === null && pressed === null ? null : <><i class="k-busy" style={{ flexGrow: busy ?? 0 }} /><i class="k-pressed" style={{ flexGrow: pressed ?? 0 }} /><i class="k-idle" style={{ flexGrow: Math.max(0, 1 - (busy ?? 0) - (pressed ?? 0)) }} /></>}
      </div>
    </div>
  );
}

function Checkpoints({ checkpoints, job }: { checkpoints: Checkpoint[]; job: JobDetail }) {
  const chart = [...checkpoints].reverse();
  const longest = Math.max(1, ...chart.map((checkpoint) => checkpoint.duration_ms ?? 0));
  const largest = Math.max(1, ...chart.map((checkpoint) => checkpoint.full_size_bytes ?? checkpoint.size_bytes ?? 0));
  return (
    <Panel title="Checkpoints" test="panel-checkpoints" note={`${count(job.job.checkpoints_completed)} completed · ${count(job.job.checkpoints_failed)} failed`}>
      {!checkpoints.length ? <Empty>No checkpoint yet; they are always on, so the first one comes soon.</Empty> : (
        <>
          <div class="bars" role="img" aria-label={`Durations of the last ${chart.length} checkpoints, longest ${duration(longest)}; state up to ${bytes(largest)}`}>
            {chart.map((checkpoint) => (
              <span key={checkpoint.id} title={`#${checkpoint.id} · ${duration(checkpoint.duration_ms)} · ${bytes(checkpoint.full_size_bytes ?? checkpoint.size_bytes)}`} class={checkpoint.state.toLowerCase()}>
                <i style={{ height: `${Math.max(2, ((checkpoint.duration_ms ?? 0) / longest) * 100)}%` }} />
                <em style={{ bottom: `${((checkpoint.full_size_bytes ?? checkpoint.size_bytes ?? 0) / largest) * 96}%` }} />
              </span>
            ))}
          </div>
          <p class="note bars-key"><i class="k-bar" />duration, up to {duration(longest)} <i class="k-dot" />state, up to {bytes(largest)}</p>
          <div class="scroll"><table>
            <thead><tr><th>Id</th><th class="roomy">Kind</th><th>State</th><th class="n">At</th><th class="n">Duration</th><th class="n roomy">Written</th><th class="n">Size</th></tr></thead>
            <tbody>
              {checkpoints.slice(0, 10).map((checkpoint) => (
                <tr key={checkpoint.id} data-test="checkpoint">
                  <th scope="row">{checkpoint.id}</th>
                  <td class="roomy">{checkpoint.kind.toLowerCase()}</td>
                  <td><State state={checkpoint.state} title={checkpoint.failure} /></td>
                  <td class="n">{clock(checkpoint.at_ms)}</td>
                  <td class="n">{duration(checkpoint.duration_ms)}</td>
                  <td class="n roomy">{bytes(checkpoint.size_bytes)}</td>
                  <td class="n">{bytes(checkpoint.full_size_bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table></div>
        </>
      )}
    </Panel>
  );
}

function Exceptions({ exceptions, nowMs }: { exceptions: JobException[]; nowMs: number }) {
  return (
    <Panel title="Exceptions" test="panel-exceptions" note="newest first">
      {!exceptions.length ? <Empty>None. The job has not failed.</Empty> : (
        <ol class="exceptions">
          {exceptions.map((exception) => (
            <li key={`${exception.at_ms}${exception.task}`}>
              <details>
                <summary><time title={ago(exception.at_ms, nowMs)}>{clock(exception.at_ms)}</time> <b>{exception.name}</b>{exception.task && <span class="dim"> in {exception.task}</span>}</summary>
                <pre tabIndex={0}>{exception.endpoint ? `at ${exception.endpoint}\n` : ""}{exception.message}</pre>
              </details>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
