// Numbers as people read them: three significant digits, a thin space, the unit. Pure.
const DASH = "–";
const SPACE = "\u202f";

type Maybe = number | null | undefined;

function digits(value: number, significant = 3): string {
  if (value === 0) return "0";
  const places = Math.max(0, significant - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 2)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

function scaled(value: number, base: number, units: string[]): string {
  let rest = value;
  let unit = 0;
  while (Math.abs(rest) >= base * 0.9995 && unit < units.length - 1) {
    rest /= base;
    unit += 1;
  }
  return digits(rest) + (units[unit] ? SPACE + units[unit] : "");
}

/** 1234 → "1,234", 12345 → "12.3 k", 4.2e6 → "4.2 M". */
export function count(value: Maybe): string {
  if (value === null || value === undefined) return DASH;
  if (Math.abs(value) < 10_000) return Math.round(value).toLocaleString("en-US");
  return scaled(value, 1000, ["", "k", "M", "G", "T"]);
}

/** Records per second, with one decimal below ten. */
export function rate(value: Maybe): string {
  if (value === null || value === undefined) return DASH;
  return (Math.abs(value) < 10 ? digits(value, 2) : count(value)) + SPACE + "/s";
}

/** 0.0234 → "2.3 %". */
export function share(value: Maybe): string {
  if (value === null || value === undefined) return DASH;
  const percent = value * 100;
  return (percent >= 10 || percent === 0 ? percent.toFixed(0) : percent.toFixed(1)) + SPACE + "%";
}

/** 950 → "950 ms", 1240 → "1.24 s", 125000 → "2 min 5 s", then h and d. */
export function duration(ms: Maybe): string {
  if (ms === null || ms === undefined) return DASH;
  if (ms < 1000) return Math.round(ms) + SPACE + "ms";
  if (ms < 60_000) return digits(ms / 1000) + SPACE + "s";
  const seconds = Math.floor(ms / 1000);
  const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  const parts: [number, string][] = [[d, "d"], [h, "h"], [m, "min"], [s, "s"]];
  const first = parts.findIndex(([n]) => n > 0);
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => n + SPACE + unit).join(" ");
}

/** 1536 → "1.5 KiB". */
export function bytes(value: Maybe): string {
  return value === null || value === undefined ? DASH : scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

/** 1536 → "1.5 KiB/s". */
export function byteRate(value: Maybe): string {
  return value === null || value === undefined ? DASH : bytes(value) + "/s";
}

/** 12.34 → "12.3 ms/s": time that is lost in each second. */
export function timeShare(ms: Maybe): string {
  return ms === null || ms === undefined ? DASH : digits(ms) + SPACE + "ms/s";
}

/** 3.24 → "3.2×", 12.6 → "13×". */
export function times(value: Maybe): string {
  return value === null || value === undefined ? DASH : (value === 0 ? "0" : value.toFixed(value < 10 ? 1 : 0)) + "×";
}

/** 2450 → "2.45 Mbit/s". */
export function bitrate(kbps: Maybe): string {
  return kbps === null || kbps === undefined ? DASH : scaled(kbps, 1000, ["kbit/s", "Mbit/s", "Gbit/s"]);
}

/** Time of day in the reader's zone, 24 h. */
export function clock(ms: Maybe): string {
  return ms === null || ms === undefined ? DASH : new Date(ms).toLocaleTimeString("en-GB");
}

/** "just now", "12 s ago", "5 min ago": how long before `now`. */
export function ago(ms: Maybe, now: number): string {
  if (ms === null || ms === undefined) return DASH;
  const passed = now - ms;
  if (passed < 1500) return "just now";
  return (passed < 60_000 ? Math.floor(passed / 1000) + SPACE + "s" : duration(passed).split(" ")[0]) + " ago";
}

/** Flink's name of a vertex without the default catalog, which is the same everywhere. */
export function plainName(name: string): string {
  return name.replaceAll("default_catalog.default_database.", "").replaceAll("->", "→");
}
