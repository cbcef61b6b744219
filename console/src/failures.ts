// Failures as the page draws them: phases between moments, offsets, quantiles. Pure.
import type { Failure, MomentName } from "./model";

export const MOMENTS: [MomentName, string][] = [
  ["fault", "fault"], ["suspect", "suspect"], ["verdict", "verdict"], ["told", "told"], ["restarting", "restarting"],
  ["running", "running"], ["flowing", "flowing"], ["caught_up", "caught up"],
];

/** What is waited for until a moment, as its phase is called in the legend. */
export const PHASES: Partial<Record<MomentName, string>> = {
  suspect: "silence", verdict: "judging", told: "telling Flink", restarting: "cancelling", running: "restoring", flowing: "reading on", caught_up: "catching up",
};

export interface Phase {
  name: MomentName;
  fromMs: number;
  toMs: number;
}

/** When it began, as far as that is known. */
export function beganMs(failure: Failure): number {
  return Math.min(...Object.values(failure.moments));
}

/** The common scale: as long as the slowest took until its work went on; catching up after that may be cut off. */
export function scaleMs(failures: readonly Failure[]): number {
  const ends = failures.map((failure) => {
    const worked = Object.entries(failure.moments).filter(([name]) => name !== "caught_up").map(([, at]) => at);
    return Math.max(...worked) - beganMs(failure);
  });
  return Math.max(1000, ...ends);
}

/** The phases one after the other; a moment that is not known joins two of them, one that came out of turn takes no time. */
export function phases(failure: Failure): Phase[] {
  const began = beganMs(failure);
  const found: Phase[] = [];
  let from = 0;
  for (const [name] of MOMENTS) {
    const at = failure.moments[name];
    if (at === undefined || at - began <= from) continue;
    found.push({ name, fromMs: from, toMs: at - began });
    from = at - began;
  }
  return found;
}

/** Time from the fault to a moment; null when one of them is not known. */
export function since(failure: Failure, name: MomentName): number | null {
  const [fault, at] = [failure.moments.fault, failure.moments[name]];
  return fault === undefined || at === undefined ? null : at - fault;
}

/** The value below which a share of the values lie: the nearest rank; null of none. */
export function quantile(values: readonly number[], share: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}

/** Marks of the common time axis: a round distance, four to eight of them. */
export function ticksMs(spanMs: number): number[] {
  const raw = Math.max(spanMs, 1) / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((part) => part * power).find((each) => each >= raw) ?? raw;
  return Array.from({ length: Math.floor(spanMs / step) + 1 }, (_, index) => index * step);
}
