// A player as a product would build it: hls.js, its own CMCD v2 event reports, content steering, and three small additions
// that decide how fast a viewer gets away from a CDN that crawls (each measured alone with four players before this was written):
//
//   1. in-flight beacon: while a fetch is older than 1.2 segment durations, say so once a second (custom event
//      `inflight`, key com.headrace-age in ms). A crawling fetch neither completes nor fails, so nothing else tells.
//   2. re-path: when steering changes the pathway while a fetch is open, restart loading at once; hls.js itself
//      changes only the next fetch.
//   3. tight load policy: give up a fetch after 3 s (first byte 1.5 s) and do not retry it on the same pathway.
//
// The page keeps a stopwatch of its own on the media element (join time, stalls), independent of the beacons, and posts it
// to /js: the platform's numbers are checked against it.

const SEGMENT_MS = 1000;
const INFLIGHT_LIMIT_MS = 1.2 * SEGMENT_MS;
const HEARTBEAT_S = 5;
// Custom keys are sent only when listed, and a list replaces the default: these are the keys the platform stores.
const KEYS = ["sid", "cid", "sn", "v", "ts", "e", "sta", "br", "bl", "mtp", "ltc", "rc", "ttfb", "ttlb", "url", "ec", "cen",
  "sf", "st", "com.headrace-cdn", "com.headrace-age"];

export function startPlayer(video, query, line) {
  const sid = query.get("sid");
  const page = new Page(sid, video);
  const shim = query.get("shim") !== "off";
  let reporter = null;
  const hls = new Hls({
    liveSyncDurationCount: 3,
    liveMaxLatencyDurationCount: 8,
    maxBufferLength: 6,
    ...(shim ? { fragLoadPolicy: { default: loadPolicy() } } : {}),
    cmcd: {
      version: 2,
      sessionId: sid,
      contentId: query.get("room"),
      includeKeys: ["sid"],
      eventTargets: query.getAll("target").map((url) => ({
        url, interval: HEARTBEAT_S, batchSize: 1, includeKeys: KEYS, events: ["ps", "t", "rr", "bc", "e", "ce"],
      })),
      reporterCallback: (made) => { reporter = made; },
    },
  });
  const flights = new Map();
  const pathway = () => hls.levels[Math.max(hls.loadLevel, 0)]?.pathwayId ?? "";
  const tellPathway = () => reporter?.updateCustomData({ "com.headrace-cdn": pathway() });

  hls.on(Hls.Events.MANIFEST_PARSED, () => { tellPathway(); page.log("manifest", { pathway: pathway() }); });
  hls.on(Hls.Events.STEERING_MANIFEST_LOADED, (_, data) => {
    page.log("steer", { prio: data.steeringManifest["PATHWAY-PRIORITY"], ttl: data.steeringManifest.TTL });
  });
  hls.on(Hls.Events.FRAG_LOADING, (_, { frag }) => { flights.set(frag.sn, performance.now()); });
  const landed = (_, data) => { if (data.frag) flights.delete(data.frag.sn); };
  hls.on(Hls.Events.FRAG_LOADED, (_, data) => {
    page.log("frag", { url: data.frag.url, ms: round(data.frag.stats.loading.end - data.frag.stats.loading.start) });
    landed(_, data);
  });
  hls.on(Hls.Events.FRAG_LOAD_EMERGENCY_ABORTED, landed);
  hls.on(Hls.Events.ERROR, (_, data) => {
    landed(_, data);
    page.log("err", { detail: data.details, fatal: data.fatal });
  });

  let lastPathway = "";
  let lastBeacon = 0;
  const watch = () => {
    const current = pathway();
    if (current && current !== lastPathway) {
      tellPathway();
      if (lastPathway) {
        page.log("switch", { from: lastPathway, to: current, open: flights.size });
        if (shim && flights.size > 0) { flights.clear(); hls.stopLoad(); hls.startLoad(-1); page.log("repath", {}); }
      }
      lastPathway = current;
    }
    const age = oldestAge(flights);
    if (shim && age > INFLIGHT_LIMIT_MS && performance.now() - lastBeacon >= 500) {
      lastBeacon = performance.now();
      reporter?.recordCustomEvent("inflight", { "com.headrace-age": Math.round(age) });
      page.log("inflight", { age: Math.round(age) });
    }
    line.textContent = `${sid} · ${current} · ${video.readyState} · stall ${Math.round(page.stallMs())} ms`;
  };
  setInterval(watch, 100);
  hls.attachMedia(video);
  page.started();
  hls.loadSource(query.get("src"));
  window.headrace = { hls, page, stop: () => { page.finish(); hls.destroy(); return page.flush(); } };
}

function loadPolicy() {
  return {
    maxTimeToFirstByteMs: 1500, maxLoadTimeMs: 3000, timeoutRetry: null,
    errorRetry: { maxNumRetry: 2, retryDelayMs: 200, maxRetryDelayMs: 1000 },
  };
}

function oldestAge(flights) {
  const now = performance.now();
  return Math.max(0, ...[...flights.values()].map((since) => now - since));
}

const round = (ms) => Math.round(ms * 10) / 10;

// The page's own stopwatch and log. Times are ms of this page's clock; `ts` is wall time so that rows join the beacons.
class Page {
  constructor(sid, video) {
    Object.assign(this, { sid, video, rows: [], stallTotal: 0, stallSince: 0, stalls: 0, joinMs: null, startedAt: 0 });
    video.addEventListener("playing", () => this.#playing());
    video.addEventListener("waiting", () => this.#waiting());
    setInterval(() => this.flush(), 1000);
  }

  started() { this.startedAt = performance.now(); this.log("start", {}); }

  stallMs() { return this.stallTotal + (this.stallSince ? performance.now() - this.stallSince : 0); }

  #playing() {
    if (this.joinMs === null) { this.joinMs = performance.now() - this.startedAt; this.log("first", { ms: round(this.joinMs) }); }
    if (this.stallSince) {
      const ms = performance.now() - this.stallSince;
      this.stallTotal += ms; this.stallSince = 0;
      this.log("resume", { ms: round(ms) });
    }
  }

  #waiting() {
    if (this.joinMs === null || this.stallSince) return;
    this.stallSince = performance.now(); this.stalls += 1;
    this.log("stall", {});
  }

  finish() { this.log("sum", { join_ms: this.joinMs === null ? null : round(this.joinMs), stall_ms: round(this.stallMs()), stalls: this.stalls }); }

  log(kind, fields) { this.rows.push({ ts: Date.now(), sid: this.sid, k: kind, pt: this.video.currentTime, ...fields }); }

  flush() {
    if (!this.rows.length) return Promise.resolve();
    const body = JSON.stringify(this.rows.splice(0));
    return fetch("/js", { method: "POST", body, keepalive: true }).catch(() => {});
  }
}
