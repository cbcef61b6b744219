// The shell: header, connection banner, and the page that the hash names: #/, #/quality?region=…, #/jobs/<name>, #/state/<job>, #/failures.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { clock } from "./fmt";
import { LiveChannel } from "./live";
import { Loading } from "./parts";
import { parseRoute, type Route } from "./route";
import { ThemeToggle } from "./theme";
import { FailuresPage } from "./pages/failures";
import { JobsPage } from "./pages/jobs";
import { OverviewPage } from "./pages/overview";
import { QualityPage } from "./pages/quality";
import { StatePage } from "./pages/state";
import "./style.css";

const channel = new LiveChannel();

function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const update = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", update);
    return () => removeEventListener("hashchange", update);
  }, []);
  return route;
}

function useLive() {
  const [state, setState] = useState(channel.state);
  useEffect(() => channel.subscribe(() => setState(channel.state)), []);
  return state;
}

const PAGES: [Route["page"], string, string][] = [
  ["overview", "#/", "Overview"],
  ["quality", "#/quality", "Live quality"],
  ["jobs", "#/jobs", "Jobs"],
  ["state", "#/state", "State"],
  ["failures", "#/failures", "Failures"],
];

function App() {
  const route = useRoute();
  const live = useLive();
  useEffect(() => channel.want({ region: route.region, isp: route.isp, room: route.room, job: route.job, state_of: route.state_of, failures: route.failures }), [route.region, route.isp, route.room, route.job, route.state_of, route.failures]);
  useEffect(() => { document.title = `${PAGES.find(([page]) => page === route.page)?.[2]} · Headrace`; }, [route.page]);
  const ready = live.overview !== null;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to content</a>
      <header class="top">
        <a class="brand" href="#/" aria-label="Headrace, overview">
          <svg viewBox="0 0 24 24" width="26" height="26" aria-hidden="true"><rect width="24" height="24" rx="7" /><path d="M4 8.5c4 0 4 3 8 3s4-3 8-3M4 14.5c4 0 4 3 8 3s4-3 8-3" /></svg>
          <span>Headrace</span>
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([page, href, label]) => <a key={page} href={href} aria-current={route.page === page ? "page" : undefined}>{label}</a>)}
        </nav>
        <span class={`link ${live.connection}`} data-test="connection" title="Connection to the control plane"><i aria-hidden="true" />{live.connection}</span>
        <ThemeToggle />
      </header>
      {live.connection === "lost" && (
        <div class="banner" role="alert" data-test="banner">
          <span><strong>Connection lost</strong> at {clock(live.lostAtMs)}. {ready ? "The page shows the last known state; " : ""}jobs and players run on without it.</span>
          <button type="button" onClick={() => channel.retry()}>Reconnect now</button>
        </div>
      )}
      <main id="main" tabIndex={-1} class={live.connection === "lost" ? "stale" : ""}>
        {!ready ? <Loading what={route.page} />
          : route.page === "quality" ? <QualityPage live={live} route={route} />
          : route.page === "jobs" ? <JobsPage live={live} route={route} />
          : route.page === "state" ? <StatePage live={live} route={route} />
          : route.page === "failures" ? <FailuresPage live={live} />
          : <OverviewPage live={live} />}
      </main>
    </>
  );
}

render(<App />, document.getElementById("app") as HTMLElement);
