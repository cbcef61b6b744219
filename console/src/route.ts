// Addresses of pages. Pure.
import type { Interest } from "./live";

export interface Route extends Interest {
  page: "overview" | "quality" | "jobs" | "state" | "failures";
  operator: string;
  minutes: number;
}

export const WINDOWS_MIN = [2, 5, 10];

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [head = "", tail = ""] = path.split("/", 2);
  const params = new URLSearchParams(query);
  const minutes = Number(params.get("minutes"));
  return {
    page: head === "quality" || head === "jobs" || head === "state" || head === "failures" ? head : "overview",
    region: params.get("region") ?? "",
    isp: params.get("isp") ?? "",
    room: params.get("room") ?? "",
    job: head === "jobs" ? decodeURIComponent(tail) : "",
    state_of: head === "state" ? decodeURIComponent(tail) : "",
    failures: head === "failures" ? "1" : "",
    operator: params.get("operator") ?? "",
    minutes: WINDOWS_MIN.includes(minutes) ? minutes : 5,
  };
}

/** The state page of a job, and of one of its operators. */
export function stateHash(job: string, operator = ""): string {
  const query = operator ? `?${new URLSearchParams({ operator })}` : "";
  return `#/state${job ? `/${encodeURIComponent(job)}` : ""}${query}`;
}

export function qualityHash(route: Route, change: Partial<Route>): string {
  const next = { ...route, ...change };
  const params = new URLSearchParams();
  for (const key of ["region", "isp", "room"] as const) if (next[key]) params.set(key, next[key]);
  if (next.minutes !== 5) params.set("minutes", String(next.minutes));
  const query = params.toString();
  return `#/quality${query ? `?${query}` : ""}`;
}
