// The live channel: one EventSource, a state that is replaced on every message, and a way to be told. When the connection
// drops, the last state stays on the page under a banner, and the channel tries again: after 1, 2, 4, 8, then every 8 s.
import type { Board, Failures, Jobs, JobState, Overview, Series, Snapshot, Tick } from "./model";
import { mergeSeries } from "./series";

export interface LiveState {
  connection: "connecting" | "live" | "lost";
  lostAtMs: number | null;
  retryAtMs: number | null;
  sampleMs: number;
  historyS: number;
  overview: Overview | null;
  quality: Board | null;
  jobs: Jobs | null;
  overviewHistory: Series;
  qualityHistory: Series;
  state: JobState | null;
  stateHistory: Series;
  failures: Failures | null;
}

export interface Interest {
  region: string;
  isp: string;
  room: string;
  job: string;
  /** The job whose state by tiers is wanted. */
  state_of: string;
  /** "1" when failures are wanted. */
  failures: string;
}

const SILENCE_MS = 8000; // the server ticks every second and beats every 2 s: four missed beats
const RETRY_MS_MAX = 8000;
const NO_SERIES: Series = { at_ms: [], values: {} };

export class LiveChannel {
  state: LiveState = {
    connection: "connecting", lostAtMs: null, retryAtMs: null, sampleMs: 1000, historyS: 600,
    overview: null, quality: null, jobs: null, overviewHistory: NO_SERIES, qualityHistory: NO_SERIES,
    state: null, stateHistory: NO_SERIES, failures: null,
  };
  private source: EventSource | null = null;
  private listeners = new Set<() => void>();
  private retryMs = 1000;
  private retryTimer = 0;
  private silenceTimer = 0;
  private query = "";

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** What the page wants to see; a change opens a new connection, whose snapshot brings the matching history. */
  want(interest: Interest): void {
    const query = new URLSearchParams(Object.entries(interest).filter(([, value]) => value)).toString();
    if (this.source && query === this.query) return;
    this.query = query;
    this.open();
  }

  /** Try now instead of at the next retry. */
  retry(): void {
    this.open();
  }

  private open(): void {
    this.source?.close();
    clearTimeout(this.retryTimer);
    const source = new EventSource(`v1/live${this.query ? `?${this.query}` : ""}`);
    this.source = source;
    this.heard();
    const on = <T>(name: string, take: (data: T) => void): void => {
      source.addEventListener(name, (message) => {
        this.heard();
        take(JSON.parse((message as MessageEvent<string>).data) as T);
      });
    };
    on<Snapshot>("snapshot", (data) => this.takeSnapshot(data));
    on<Tick<Overview>>("overview", ({ state, tail }) =>
      this.set({ overview: state, overviewHistory: this.merge(this.state.overviewHistory, tail, state.at_ms) }));
    on<Tick<Board>>("quality", ({ state, tail }) =>
      this.set({ quality: state, qualityHistory: this.merge(this.state.qualityHistory, tail, state.at_ms) }));
    on<{ state: Jobs }>("jobs", ({ state }) => this.set({ jobs: state }));
    on<Tick<JobState | null>>("state", ({ state, tail }) =>
      this.set({ state, stateHistory: this.merge(this.state.stateHistory, tail, state?.at_ms ?? 0) }));
    on<{ state: Failures | null }>("failures", ({ state }) => this.set({ failures: state }));
    on("heartbeat", () => undefined);
    source.onerror = () => this.lost(source);
  }

  private takeSnapshot(data: Snapshot): void {
    this.retryMs = 1000;
    this.set({
      connection: "live", lostAtMs: null, retryAtMs: null, sampleMs: data.sample_ms, historyS: data.history_s,
      overview: data.overview, quality: data.quality, jobs: data.jobs,
      overviewHistory: data.overview_history, qualityHistory: data.quality_history,
      state: data.state, stateHistory: data.state_history,
    });
  }

  private merge(history: Series, tail: Series, nowMs: number): Series {
    return mergeSeries(history, tail, nowMs - this.state.historyS * 1000);
  }

  private heard(): void {
    clearTimeout(this.silenceTimer);
    const source = this.source;
    this.silenceTimer = window.setTimeout(() => this.lost(source), SILENCE_MS);
  }

  private lost(source: EventSource | null): void {
    if (source !== this.source) return;
    source?.close();
    clearTimeout(this.silenceTimer);
    const now = Date.now();
    this.set({ connection: "lost", lostAtMs: this.state.lostAtMs ?? now, retryAtMs: now + this.retryMs });
    this.retryTimer = window.setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
  }

  private set(change: Partial<LiveState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }
}
