// Mirror of src/headrace/console/live_model.py, name by name; explained in docs/concepts/console-api.md.
// Times are ms since the epoch, shares and ratios lie in [0, 1], null means "not known".

export interface Reach {
  name: string;
  state: "waiting" | "ok" | "unreachable";
  since_ms: number;
  last_ok_ms: number | null;
  error: string;
}

export interface Series {
  at_ms: number[];
  values: Record<string, (number | null)[]>;
}

export interface Process {
  name: string;
  state: string;
  pid: number | null;
  restarts: number;
  cpu_ratio: number | null;
  rss_bytes: number | null;
  uptime_ms: number | null;
  endpoint: string;
  detail: string;
}

export interface Topic {
  name: string;
  partitions: number;
  records: number;
  rate_records_per_s: number | null;
  lag_records: number | null;
  lag_group: string;
}

export interface JobRow {
  id: string;
  name: string;
  state: string;
  started_at_ms: number | null;
  uptime_ms: number | null;
  restarts: number | null;
  tasks_running: number;
  tasks_total: number;
  records_in_per_s: number | null;
  checkpoints_completed: number | null;
  checkpoints_failed: number | null;
  checkpoint_at_ms: number | null;
  checkpoint_duration_ms: number | null;
  checkpoint_size_bytes: number | null;
}

export interface Latency {
  p50_ms: number | null;
  p99_ms: number | null;
  cells: number;
  oldest_decision_ms: number | null;
}

export interface Event {
  at_ms: number;
  kind: string;
  text: string;
  severity: "info" | "warn" | "error";
  subject: string;
  incident: boolean;
}

export interface Overview {
  at_ms: number;
  home: string;
  started_at_ms: number | null;
  sources: Reach[];
  processes: Process[];
  topics: Topic[];
  jobs: JobRow[];
  latency: Latency;
  events: Event[];
}

export interface Selection {
  region: string;
  isp: string;
  room: string;
}

export interface CdnQuality {
  cdn: string;
  sessions: number | null;
  stalled: number | null;
  stall_share: number | null;
  inflight_age_ms_max: number | null;
  errors_per_s: number | null;
  weight: number | null;
  plays: number | null;
  join_p50_ms: number | null;
  join_p95_ms: number | null;
  bitrate_kbps: number | null;
  rebuffer_ratio: number | null;
  errors: number | null;
  completeness: number | null;
}

export interface Decision {
  at_ms: number;
  region: string;
  isp: string;
  version: number | null;
  before: Record<string, number>;
  weights: Record<string, number>;
  reason: string;
  last_input_ms: number | null;
}

export interface Steer {
  region: string;
  isp: string;
  version: number | null;
  at_ms: number | null;
  ttl_s: number | null;
  weights: Record<string, number>;
  reason: string;
}

export interface Board {
  at_ms: number;
  selection: Selection;
  regions: string[];
  isps: string[];
  rooms: string[];
  sources: Reach[];
  cell_at_ms: number | null;
  minute_at_ms: number | null;
  sessions: number | null;
  stall_share: number | null;
  cdns: CdnQuality[];
  steers: Steer[];
  decisions: Decision[];
  incidents: Event[];
}

export interface Vertex {
  id: string;
  name: string;
  parallelism: number;
  state: string;
  inputs: string[];
  busy: number | null;
  back_pressured: number | null;
  idle: number | null;
  records_in_per_s: number | null;
  records_out_per_s: number | null;
  watermark_ms: number | null;
}

export interface Checkpoint {
  id: number;
  kind: string;
  state: string;
  at_ms: number;
  duration_ms: number | null;
  size_bytes: number | null;
  full_size_bytes: number | null;
  failure: string;
}

export interface JobException {
  at_ms: number;
  name: string;
  message: string;
  task: string;
  endpoint: string;
}

export interface JobDetail {
  at_ms: number;
  job: JobRow;
  vertices: Vertex[];
  checkpoints: Checkpoint[];
  exceptions: JobException[];
  restored_checkpoint: number | null;
  sources: Reach[];
}

export interface Jobs {
  at_ms: number;
  jobs: JobRow[];
  detail: JobDetail | null;
}

export interface TierRates {
  lookups_per_s: number | null;
  file_lookups_per_s: number | null;
  file_reads_per_s: number | null;
  false_file_reads_per_s: number | null;
  promotions_per_s: number | null;
  appended_bytes_per_s: number | null;
  packed_bytes_per_s: number | null;
  merged_bytes_per_s: number | null;
  range_fetches_per_s: number | null;
  range_fetched_bytes_per_s: number | null;
  stall_ms_per_s: number | null;
}

export interface OperatorState {
  id: string;
  vertex: string;
  vertex_name: string;
  name: string;
  parallelism: number;
  memory_used_bytes: number | null;
  memory_limit_bytes: number | null;
  records: number | null;
  record_bytes: number | null;
  live_bytes: number | null;
  index_bytes: number | null;
  cache_bytes: number | null;
  file_index_bytes: number | null;
  file_bytes: number | null;
  file_count: number | null;
  run_count_max: number | null;
  merge_failures: number | null;
  restored_files_left: number | null;
  appended_bytes: number | null;
  packed_bytes: number | null;
  merged_bytes: number | null;
  checkpoint_bytes: number | null;
  rates: TierRates;
}

export interface JobState {
  at_ms: number;
  job: string;
  id: string;
  state: string;
  operators: OperatorState[];
  checkpoint_at_ms: number | null;
  checkpoint_duration_ms: number | null;
  sources: Reach[];
  history: Series;
}

/** Mirrors src/headrace/console/failure_model.py. */
export interface Failure {
  id: string;
  source: "recorded" | "observed";
  what: string;
  host: string;
  process: string;
  moments: Partial<Record<MomentName, number>>;
  restarts: number | null;
  lost: number | null;
  doubled: number | null;
  verdicts: string[];
  votes: string[];
  note: string;
}

export type MomentName = "fault" | "suspect" | "verdict" | "told" | "restarting" | "running" | "flowing" | "caught_up";

export interface Failures {
  at_ms: number;
  failures: Failure[];
  passed: number;
  exposed: string[];
  held: string[];
  dependencies_down: string[];
  unreachable: Record<string, string[]>;
  sources: Reach[];
}

export interface Snapshot {
  version: number;
  at_ms: number;
  sample_ms: number;
  history_s: number;
  overview: Overview;
  quality: Board;
  jobs: Jobs;
  overview_history: Series;
  quality_history: Series;
  state: JobState | null;
  state_history: Series;
}

export interface Tick<T> {
  state: T;
  tail: Series;
}
