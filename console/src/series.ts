// Histories: columns over one ascending time axis. Pure.
import type { Series } from "./model";

/** Merge `tail` into `history` by time: equal times are replaced, newer ones appended, points before `oldestMs` dropped. */
export function mergeSeries(history: Series, tail: Series, oldestMs: number): Series {
  const tailAt = new Map(tail.at_ms.map((at, index) => [at, index]));
  const axis = [...new Set([...history.at_ms, ...tail.at_ms])].filter((at) => at >= oldestMs).sort((a, b) => a - b);
  const oldAt = new Map(history.at_ms.map((at, index) => [at, index]));
  const names = new Set([...Object.keys(history.values), ...Object.keys(tail.values)]);
  const values: Series["values"] = {};
  for (const name of names) {
    const old = history.values[name];
    const fresh = tail.values[name];
    values[name] = axis.map((at) => {
      const i = tailAt.get(at);
      if (i !== undefined) return fresh?.[i] ?? null;
      const j = oldAt.get(at);
      return j === undefined ? null : (old?.[j] ?? null);
    });
  }
  return { at_ms: axis, values };
}

/** The columns whose name starts with `prefix`, by the rest of the name, sorted. */
export function columns(series: Series, prefix: string): [string, (number | null)[]][] {
  return Object.entries(series.values)
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, values]): [string, (number | null)[]] => [name.slice(prefix.length), values])
    .sort(([a], [b]) => a.localeCompare(b));
}

/** Sum of several columns; a point is null only where all of them are. */
export function sumColumns(all: (number | null)[][]): (number | null)[] {
  const length = Math.max(0, ...all.map((column) => column.length));
  return Array.from({ length }, (_, i) => {
    let total: number | null = null;
    for (const column of all) {
      const value = column[i];
      if (value !== null && value !== undefined) total = (total ?? 0) + value;
    }
    return total;
  });
}

/** Running totals from the first column up, for stacked areas; unknown counts as nothing, all unknown stays a gap. */
export function stack(all: (number | null)[][]): (number | null)[][] {
  return all.map((_, k) => sumColumns(all.slice(0, k + 1)));
}

/** The last value that is known. */
export function last(values: (number | null)[]): number | null {
  for (let i = values.length - 1; i >= 0; i--) {
    const value = values[i];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}
