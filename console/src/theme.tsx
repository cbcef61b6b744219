// Light, dark, or as the system says; kept in the browser.
import { useEffect, useState } from "preact/hooks";

type Choice = "system" | "light" | "dark";
const KEY = "headrace-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

function choice(): Choice {
  const set = document.documentElement.dataset["theme"];
  return set === "light" || set === "dark" ? set : "system";
}

function effective(): "light" | "dark" {
  const chosen = choice();
  return chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
}

function choose(next: Choice): void {
  if (next === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = next;
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch { /* a browser without storage still switches */ }
  for (const listener of listeners) listener();
}

/** The theme in effect; components that draw on a canvas redraw when it changes. */
export function useTheme(): "light" | "dark" {
  const [theme, setTheme] = useState(effective);
  useEffect(() => {
    const update = () => setTheme(effective());
    listeners.add(update);
    dark.addEventListener("change", update);
    return () => {
      listeners.delete(update);
      dark.removeEventListener("change", update);
    };
  }, []);
  return theme;
}

export function ThemeToggle() {
  const theme = useTheme();
  const next = theme === "dark" ? "light" : "dark";
  // Going back to what the system says anyway means following it again.
  const click = () => choose((next === "dark") === dark.matches ? "system" : next);
  return (
    <button type="button" class="icon-button" onClick={click} aria-label={`Switch to ${next} theme`} title={`Switch to ${next} theme`} data-test="theme-toggle">
      <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">
        {theme === "dark"
          ? <path d="M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.7 1.4-1.4M4.9 19.1l1.4-1.4m0-11.4L4.9 4.9m14.2 14.2-1.4-1.4M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Z" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" />
          : <path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linejoin="round" />}
      </svg>
    </button>
  );
}
