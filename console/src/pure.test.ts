import { describe, expect, it } from "vitest";
import { cdnSlot } from "./colours";
import { ago, bitrate, bytes, count, duration, rate, share } from "./fmt";
import { layoutGraph } from "./layout";
import type { Vertex } from "./model";
import { parseRoute, qualityHash } from "./route";
import { columns, last, mergeSeries, stack, sumColumns } from "./series";

const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("fmt", () => {
  it("shows what is not known as a dash, never as zero", () => {
    for (const format of [count, rate, share, duration, bytes, bitrate]) {
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
    expect(parseRoute("#/nonsense").page).toBe("overview");
    expect(parseRoute("#/quality?minutes=99").minutes).toBe(5);
  });
});
