import { describe, expect, it } from "vitest";
import { cdnSlot } from "./colours";
import { beganMs, phases, quantile, scaleMs, since, ticksMs } from "./failures";
import { ago, bitrate, byteRate, bytes, count, duration, rate, share, times, timeShare } from "./fmt";
import { layoutGraph } from "./layout";
import type { Failure, OperatorState, TierRates, Vertex } from "./model";
import { parseRoute, qualityHash, stateHash } from "./route";
import { columns, last, mergeSeries, stack, sumColumns } from "./series";
import { chooseOperator, flowWidth, hits, picture, segments, sentence, writeAmplification } from "./tiers";

const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("fmt", () => {
  it("shows what is not known as a dash, never as zero", () => {
    for (const format of [count, rate, share, duration, bytes, bitrate, byteRate, times, timeShare]) {
      expect(format(null)).toBe("–");
      expect(plain(format(0))).toMatch(/^0/);
    }
  });
  it("keeps three digits and the unit", () => {
    expect(plain(count(1234))).toBe("1,234");
    expect(plain(count(12_345))).toBe("12.3 k");
    expect(plain(count(999_960))).toBe("1 M");
    expect(plain(rate(4.26))).toBe("4.3 /s");
    expect(plain(share(0.0234))).toBe("2.3 %");
    expect(plain(share(0.45))).toBe("45 %");
    expect(plain(bytes(1536))).toBe("1.5 KiB");
    expect(plain(bitrate(2450))).toBe("2.45 Mbit/s");
    expect(plain(byteRate(3 << 20))).toBe("3 MiB/s");
    expect(plain(timeShare(12.34))).toBe("12.3 ms/s");
    expect([times(0.24), times(3.24), times(12.6)]).toEqual(["0.2×", "3.2×", "13×"]);
  });
  it("never says 60 s", () => {
    expect(plain(duration(950))).toBe("950 ms");
    expect(plain(duration(1240))).toBe("1.24 s");
    expect(plain(duration(60_000))).toBe("1 min");
    expect(plain(duration(125_000))).toBe("2 min 5 s");
    expect(plain(duration(90_061_000))).toBe("1 d 1 h");
    expect(plain(ago(1000, 13_000))).toBe("12 s ago");
    expect(ago(1000, 1500)).toBe("just now");
  });
});

describe("series", () => {
  const history = { at_ms: [1, 2, 3], values: { a: [10, 20, 30], b: [1, 2, 3] } };
  it("replaces corrected points, appends new ones and drops old ones", () => {
    const merged = mergeSeries(history, { at_ms: [3, 4], values: { a: [31, 40], c: [7, 8] } }, 2);
    expect(merged).toEqual({ at_ms: [2, 3, 4], values: { a: [20, 31, 40], b: [2, null, null], c: [null, 7, 8] } });
  });
  it("changes nothing when the same tail comes twice", () => {
    const tail = { at_ms: [4], values: { a: [40] } };
    const once = mergeSeries(history, tail, 0);
    expect(mergeSeries(once, tail, 0)).toEqual(once);
  });
  it("stacks to the sum and keeps gaps", () => {
    expect(stack([[1, null], [2, null]])).toEqual([[1, null], [3, null]]);
    expect(sumColumns([[1, null], [2, 5]])).toEqual([3, 5]);
    expect(last([1, 2, null])).toBe(2);
    expect(columns({ at_ms: [], values: { "w:B": [], "w:A": [], x: [] } }, "w:").map(([name]) => name)).toEqual(["A", "B"]);
  });
});

describe("colours", () => {
  it("gives a CDN the same slot whoever else is there", () => {
    expect(cdnSlot("B", ["A", "B"])).toBe(cdnSlot("B", ["B", "C"]));
    expect(cdnSlot("fastly", ["akamai", "fastly"])).toBe(1);
  });
});

describe("layout", () => {
  const vertex = (id: string, inputs: string[]) => ({ id, inputs }) as Vertex;
  it("puts every vertex after all of its inputs", () => {
    const { nodes, layers } = layoutGraph([vertex("s", []), vertex("a", ["s"]), vertex("b", ["s", "a"]), vertex("k", ["b"])]);
    expect(Object.fromEntries(nodes.map((node) => [node.vertex.id, node.layer]))).toEqual({ s: 0, a: 1, b: 2, k: 3 });
    expect(layers).toBe(4);
  });
  it("survives a cycle and an input that is not there", () => {
    expect(layoutGraph([vertex("a", ["b"]), vertex("b", ["a", "gone"])]).nodes).toHaveLength(2);
    expect(layoutGraph([]).rows).toBe(0);
  });
});

describe("route", () => {
  it("reads what it writes", () => {
    const route = parseRoute(qualityHash(parseRoute("#/quality"), { region: "north", room: "a b", minutes: 10 }));
    expect(route).toMatchObject({ page: "quality", region: "north", isp: "", room: "a b", minutes: 10 });
    expect(parseRoute("#/jobs/live%2Dquality").job).toBe("live-quality");
    expect(parseRoute(stateHash("live quality", "v1.Agg[4]"))).toMatchObject({ page: "state", state_of: "live quality", operator: "v1.Agg[4]", job: "" });
    expect(parseRoute(stateHash(""))).toMatchObject({ page: "state", state_of: "" });
    expect(parseRoute("#/nonsense").page).toBe("overview");
    expect(parseRoute("#/quality?minutes=99").minutes).toBe(5);
  });
});

describe("tiers", () => {
  const MiB = 1 << 20;
  const rates: TierRates = {
    lookups_per_s: 10_000, file_lookups_per_s: 400, file_reads_per_s: 420, false_file_reads_per_s: 42, promotions_per_s: 50, appended_bytes_per_s: 2 * MiB,
    packed_bytes_per_s: MiB, merged_bytes_per_s: 2 * MiB, range_fetches_per_s: 0, range_fetched_bytes_per_s: 0, stall_ms_per_s: 0,
  };
  const small: OperatorState = {
    id: "v.Agg", vertex: "v", vertex_name: "Agg", name: "Agg", parallelism: 2, memory_used_bytes: 45 * MiB, memory_limit_bytes: 100 * MiB, records: 300_000, record_bytes: 36 * MiB,
    live_bytes: 30 * MiB, index_bytes: 5 * MiB, cache_bytes: 0, file_index_bytes: 0, file_bytes: 0, file_count: 0, run_count_max: 0, merge_failures: 0,
    restored_files_left: 0, appended_bytes: 50 * MiB, packed_bytes: 0, merged_bytes: 0, checkpoint_bytes: 28 * MiB, rates,
  };
  const large: OperatorState = { ...small, memory_used_bytes: 98 * MiB, record_bytes: 80 * MiB, cache_bytes: 20 * MiB, live_bytes: 50 * MiB, file_index_bytes: 10 * MiB,
    file_bytes: 260 * MiB, file_count: 9, run_count_max: 3, appended_bytes: 400 * MiB, packed_bytes: 300 * MiB, merged_bytes: 500 * MiB };
  const parts = (state: OperatorState) => Object.fromEntries(segments(state).map((part) => [part.key, part.bytes / MiB]));

  it("divides the budget without a gap and without an overlap", () => {
    expect(parts(small)).toEqual({ records: 30, dead: 6, cache: 0, index: 5, filters: 0, others: 4, free: 55 });
    expect(parts(large)).toEqual({ records: 50, dead: 10, cache: 20, index: 5, filters: 10, others: 3, free: 2 });
    for (const state of [small, large]) expect(segments(state).reduce((sum, part) => sum + part.bytes, 0)).toBe(state.memory_limit_bytes);
  });
  it("never draws a negative part, whatever the figures' age", () => {
    const odd = { ...large, memory_used_bytes: 0, live_bytes: 900 * MiB, cache_bytes: 90 * MiB, record_bytes: 120 * MiB };
    for (const part of segments(odd)) expect(part.bytes).toBeGreaterThanOrEqual(0);
    for (const part of segments({ ...small, memory_limit_bytes: null, memory_used_bytes: null, live_bytes: null, cache_bytes: null })) expect(part.bytes).toBeGreaterThanOrEqual(0);
  });
  it("draws everything to one scale that moves in steps", () => {
    expect(picture(small)).toMatchObject({ scaleBytes: 100 * MiB, budgetBytes: 100 * MiB, fileBytes: 0, marks: [1] });
    expect(picture(large)).toMatchObject({ scaleBytes: 300 * MiB, fileBytes: 260 * MiB, marks: [1, 2, 3] });
    expect(picture({ ...large, file_bytes: 261 * MiB }).scaleBytes).toBe(300 * MiB);
    expect(picture({ ...large, checkpoint_bytes: 1170 * MiB })).toMatchObject({ scaleBytes: 1200 * MiB, marks: [1, 2, 4, 6, 8, 10, 12] });
    expect(picture({ ...large, file_bytes: 14_900 * MiB }).scaleBytes).toBe(15_000 * MiB);
  });
  it("says in words what is going on", () => {
    const say = (change: Partial<OperatorState>, state = large) => plain(sentence({ ...state, ...change }).text);
    expect(say({}, small)).toBe("All state is in memory: 41 % of 100 MiB.");
    expect(say({})).toBe("State is 3.2 times its memory budget, 81 % of it in files; 4.0 % of lookups ask the files, at 1.05 reads each.");
    expect(say({ file_bytes: 10 * MiB })).toContain("State is 70 % of its memory budget, 14 %");
    expect(say({ rates: { ...rates, file_lookups_per_s: 0 } })).toContain("memory answers all lookups");
    expect(say({ rates: { ...rates, lookups_per_s: 0 } })).toContain("nothing is looked up right now");
    expect(say({ rates: { ...rates, lookups_per_s: null } })).toContain("rates follow");
  });
  it("says what is wrong last, and how bad it is", () => {
    expect(sentence(large).tone).toBe("good");
    expect(sentence({ ...large, restored_files_left: 1 })).toMatchObject({ tone: "warn", text: expect.stringMatching(/1 restored file is still read from the checkpoint\.$/) });
    expect(sentence({ ...large, rates: { ...rates, stall_ms_per_s: 49 } }).tone).toBe("good");
    expect(sentence({ ...large, rates: { ...rates, stall_ms_per_s: 120 } })).toMatchObject({ tone: "warn", text: expect.stringContaining("Writes wait for the disk") });
    expect(sentence({ ...large, merge_failures: 2 })).toMatchObject({ tone: "bad", text: expect.stringMatching(/2 merges failed/) });
  });
  it("counts hits per tier, and nothing where nothing is asked", () => {
    expect(hits(large)).toEqual({ memory: 0.96, readsPerMiss: 1.05, useful: 0.9 });
    expect(hits({ ...large, rates: { ...rates, lookups_per_s: 0, file_lookups_per_s: 0, file_reads_per_s: 0 } })).toEqual({ memory: null, readsPerMiss: null, useful: null });
    expect(writeAmplification(large)).toBe(2);
    expect(writeAmplification({ ...large, appended_bytes: 0 })).toBeNull();
  });
  it("stays with the operator that is looked at, unless that has next to nothing", () => {
    const [a, b] = [{ ...large, id: "a" }, { ...small, id: "b" }];
    const empty = { ...small, id: "c", record_bytes: 0, index_bytes: 0 };
    expect(chooseOperator([b, a, empty], "", "")?.id).toBe("a");
    expect(chooseOperator([a, b, empty], "", "b")?.id).toBe("b");
    expect(chooseOperator([a, b, empty], "", "c")?.id).toBe("a");
    expect(chooseOperator([a, b, empty], "c", "b")?.id).toBe("c");
    expect(chooseOperator([a, b], "gone", "gone")?.id).toBe("a");
    expect(chooseOperator([], "a", "a")).toBeUndefined();
  });
  it("draws no arrow where nothing flows, and a thin one for a trickle", () => {
    expect([flowWidth(0, 10), flowWidth(null, 10), flowWidth(10, 10)]).toEqual([0, 0, 12]);
    expect(flowWidth(0.1, 1000)).toBeGreaterThan(2);
  });
});

describe("failures", () => {
  const failure = (moments: Failure["moments"]): Failure => ({
    id: "f", source: "recorded", what: "host_dead", host: "w1", process: "", moments, restarts: 1, lost: 0, doubled: 0, verdicts: [], votes: [], note: "",
  });
  it("joins phases over moments that nobody recorded", () => {
    const one = failure({ fault: 1000, verdict: 2200, running: 4000 });
    expect(phases(one)).toEqual([{ name: "verdict", fromMs: 0, toMs: 1200 }, { name: "running", fromMs: 1200, toMs: 3000 }]);
    expect([beganMs(one), since(one, "running"), since(one, "flowing")]).toEqual([1000, 3000, null]);
  });
  it("gives no time to a moment out of turn, and knows no detection without a fault", () => {
    const one = failure({ suspect: 5000, verdict: 5800, told: 5700 });
    expect(phases(one).map((phase) => phase.name)).toEqual(["verdict"]);
    expect(since(one, "verdict")).toBeNull();
    expect(phases(failure({ verdict: 9 }))).toEqual([]);
  });
  it("is drawn to the slowest that works again, not to the last that has caught up", () => {
    const slow = failure({ fault: 0, verdict: 1200, flowing: 5000, caught_up: 74_000 });
    expect([scaleMs([slow, failure({ fault: 100, running: 8100 })]), scaleMs([slow]), scaleMs([failure({ verdict: 1 })])]).toEqual([8000, 5000, 1000]);
  });
  it("takes the nearest rank and round marks", () => {
    expect([quantile([], 0.5), quantile([3, 1, 2], 0.5), quantile([3, 1, 2], 1)]).toEqual([null, 2, 3]);
    expect(ticksMs(5900)).toEqual([0, 1000, 2000, 3000, 4000, 5000]);
    expect(ticksMs(53_000)).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000]);
  });
  it("has an address of its own", () => {
    expect([parseRoute("#/failures").page, parseRoute("#/failures").failures, parseRoute("#/jobs").failures]).toEqual(["failures", "1", ""]);
  });
});
