// A time chart: uPlot inside, a legend of our own outside, lines or stacked areas, incident marks and a bound.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { cssColour } from "./colours";
import { clock } from "./fmt";
import { last, stack } from "./series";
import { useTheme } from "./theme";

export interface Line {
  label: string;
  /** Custom property that holds the colour. */
  colour: string;
  values: (number | null)[];
  dash?: number[];
}

export interface Mark {
  atMs: number;
  label: string;
}

export interface ChartProps {
  id: string;
  title: string;
  note?: string | undefined;
  atMs: number[];
  lines: Line[];
  format: (value: number | null) => string;
  windowS: number;
  nowMs: number;
  stacked?: boolean;
  filled?: boolean;
  max?: number;
  /** The scale reaches at least this far, so that noise near zero stays small. */
  atLeast?: number;
  bound?: { value: number; label: string };
  marks?: Mark[];
  height?: number;
  /** Room for the figures of the y axis, px. */
  axisWidth?: number;
  empty?: string;
}

const FONT = '11px ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

export function Chart(props: ChartProps) {
  const { lines, atMs, format, windowS, nowMs } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [hover, setHover] = useState<number | null>(null);
  const theme = useTheme();
  const shape = lines.map((line) => `${line.label}:${line.colour}`).join("|");

  const data = useMemo((): uPlot.AlignedData => {
    const columns = props.stacked ? stack(lines.map((line) => line.values)) : lines.map((line) => line.values);
    return [atMs.map((at) => at / 1000), ...columns] as uPlot.AlignedData;
  }, [atMs, lines, props.stacked]);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot(options(latest, element.clientWidth, setHover), data, element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: props.height ?? 200 }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, theme, props.height]);

  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    made.batch(() => {
      made.setData(data, false);
      made.setScale("x", { min: nowMs / 1000 - windowS, max: nowMs / 1000 });
    });
  }, [data, windowS, nowMs, shape, theme]);

  const known = lines.some((line) => last(line.values) !== null);
  const at = hover === null ? null : (atMs[hover] ?? null);
  const shown = (line: Line): number | null => (hover === null ? last(line.values) : (line.values[hover] ?? null));
  const spoken = lines.map((line) => `${line.label} ${format(last(line.values))}`).join(", ");
  return (
    <figure class="chart" data-test={`chart-${props.id}`} data-points={atMs.length}>
      <figcaption>
        <span class="chart-title">{props.title}</span>
        {props.note && <span class="note">{props.note}</span>}
        <span class="legend">
          {at !== null && <span class="legend-time">{clock(at)}</span>}
          {lines.map((line) => (
            <span class="legend-item" key={line.label}>
              <i class={line.dash ? "swatch dashed" : "swatch"} style={{ "--swatch": `var(${line.colour})` }} />
              {line.label} <b>{format(shown(line))}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div class="plot" role="img" aria-label={`${props.title}: ${spoken || "no data yet"}`} style={{ height: `${props.height ?? 200}px` }}>
        <div ref={host} class="plot-host" />
        {!known && <p class="plot-empty">{props.empty ?? "No data yet"}</p>}
      </div>
    </figure>
  );
}

type Latest = { current: ChartProps };

function options(latest: Latest, width: number, setHover: (index: number | null) => void): uPlot.Options {
  const props = latest.current;
  const ink = cssColour("--ink-3");
  const grid = { stroke: cssColour("--grid"), width: 1 };
  const series = props.lines.map((line, index): uPlot.Series => {
    const colour = cssColour(line.colour);
    const wash = props.stacked ? "b8" : props.filled ? "26" : "";
    return {
      label: line.label,
      stroke: colour,
      width: props.stacked ? 1 : 1.75,
      points: { show: false },
      ...(line.dash ? { dash: line.dash } : {}),
      ...(wash && (index === 0 || !props.stacked) ? { fill: colour + wash } : {}),
    };
  });
  const bands = props.stacked
    ? props.lines.slice(1).map((line, index) => ({ series: [index + 2, index + 1] as [number, number], fill: cssColour(line.colour) + "b8" }))
    : [];
  return {
    width,
    height: props.height ?? 200,
    padding: [10, 10, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !props.stacked, size: 6 } },
    scales: {
      x: { time: true, range: (_u, min, max) => [min, max] },
      y: { range: (_u, _min, max) => [0, yTop(latest.current, max)] },
    },
    series: [{}, ...series],
    bands,
    axes: [
      { stroke: ink, font: FONT, grid: { show: false }, ticks: { show: false }, size: 24, space: 54,
        values: (_u, ticks) => ticks.map((tick) => clock(tick * 1000).slice(0, 5 + 3 * Number(tick % 60 !== 0))) },
      { stroke: ink, font: FONT, grid, ticks: { show: false }, size: props.axisWidth ?? 62, space: 36, gap: 8,
        values: (_u, ticks) => ticks.map((tick) => latest.current.format(tick)) },
    ],
    hooks: {
      setCursor: [(u) => setHover(u.cursor.left !== undefined && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null)],
      draw: [(u) => drawMarks(u, latest.current)],
    },
  };
}

function yTop(props: ChartProps, max: number | null): number {
  if (props.max !== undefined) return props.max;
  return Math.max((max ?? 0) * 1.15, props.atLeast ?? 0, (props.bound?.value ?? 0) * 1.15) || 1;
}

function drawMarks(u: uPlot, props: ChartProps): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const ratio = devicePixelRatio;
  const dashed = (from: [number, number], to: [number, number], dash: number[]): void => {
    ctx.setLineDash(dash.map((length) => length * ratio));
    ctx.beginPath();
    ctx.moveTo(...from);
    ctx.lineTo(...to);
    ctx.stroke();
  };
  ctx.save();
  ctx.font = FONT.replace("11px", `${11 * ratio}px`);
  ctx.lineWidth = ratio;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  if (props.bound) {
    const y = u.valToPos(props.bound.value, "y", true);
    ctx.strokeStyle = ctx.fillStyle = cssColour("--bad");
    dashed([left, y], [left + width, y], [5, 4]);
    ctx.fillText(props.bound.label, left + 6 * ratio, y + 9 * ratio);
  }
  let taken = -Infinity;
  for (const mark of [...(props.marks ?? [])].sort((a, b) => a.atMs - b.atMs)) {
    const x = u.valToPos(mark.atMs / 1000, "x", true);
    if (x < left || x > left + width) continue;
    ctx.strokeStyle = cssColour("--ink-2");
    dashed([x, top], [x, top + height], [2, 3]);
    const room = ctx.measureText(mark.label).width + 10 * ratio;
    const from = x + room > left + width ? x - room - 3 * ratio : x + 3 * ratio;
    if (from < taken || from < left) continue;
    // A pill behind the words keeps them readable on a filled area.
    ctx.fillStyle = `${cssColour("--surface")}d9`;
    ctx.beginPath();
    ctx.roundRect(from, top + 3 * ratio, room, 17 * ratio, 5 * ratio);
    ctx.fill();
    ctx.fillStyle = cssColour("--ink");
    ctx.fillText(mark.label, from + 5 * ratio, top + 12 * ratio);
    taken = from + room;
  }
  ctx.restore();
}
