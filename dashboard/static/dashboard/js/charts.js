// A consumer's history with uPlot, from the series that the page holds; drawn anew when that has changed. The
// limit is drawn dashed once a curve comes near it: before, it would press the curve flat.
const place = document.getElementById("charts-of-lag");
const limit = Number(place.dataset.limit);
const height = 132;
let plots = [];

const count = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const rate = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${rate.format(seconds)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const charts = {
  events: { curves: [["events", "quiet"]], say: (value) => `${count.format(value)} events`, whole: true },
  seconds: { curves: [["seconds", "quiet"]], say: span, limited: true },
  rates: { curves: [["into", "quiet", [4, 3]], ["out", "text"]], say: (value) => `${rate.format(value)}/s`, names: ["in", "out"] },
  // What was processed once in a while has no neighbours to be drawn to.
  delay: { curves: [["delay", "quiet"]], say: span, limited: true, dots: true },
};

function colours() {
  const probe = document.createElement("i");
  place.append(probe);
  const colour = (name) => {
    probe.className = name;
    return getComputedStyle(probe).color;
  };
  const found = { line: colour("probe"), quiet: colour("quiet"), text: getComputedStyle(document.body).color, bad: colour("probe-bad") };
  probe.remove();
  return found;
}

function words(chart, data, index) {
  const values = data.slice(1, 1 + chart.curves.length).map((each) => each[index]);
  if (values.every((value) => value == null)) return "";
  return values.map((value, at) => `${chart.names ? `${chart.names[at]} ` : ""}${value == null ? "–" : chart.say(value)}`).join(", ");
}

// Without a pointer the latest is said.
function tell(figure, chart, data, index) {
  const at = index ?? data[1].findLastIndex((_, place_) => words(chart, data, place_));
  const said = at < 0 ? "" : words(chart, data, at);
  const when = index == null ? "latest" : new Date(data[0][index] * 1000).toLocaleTimeString(undefined, { hourCycle: "h23" });
  figure.querySelector("[data-told]").textContent = said && `${when}: ${said}`;
}

function options(box, chart, near, ink, on) {
  const font = `11px ${getComputedStyle(document.querySelector(".number")).fontFamily}`;
  const points = (colour) => (chart.dots ? { show: true, size: 3, width: 0, fill: colour, space: 0 } : { show: false });
  const curve = ([, colour, dash]) => ({ stroke: ink[colour], width: 1.5, dash, points: points(ink[colour]), spanGaps: false });
  const line = near ? [{ stroke: ink.bad, width: 1, dash: [4, 4], points: { show: false } }] : [];
  return {
    width: box.clientWidth, height, legend: { show: false }, padding: [8, 20, 0, 0],
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: "lag" } },
    scales: { y: { range: (_, _least, most) => [0, (most || 1) * 1.1] } },
    series: [{}, ...chart.curves.map(curve), ...line],
    axes: [
      { stroke: ink.quiet, font, size: 24, space: 70, grid: { show: false }, ticks: { show: false },
        values: (_, marks) => marks.map((mark) => new Date(mark * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })) },
      { stroke: ink.quiet, font, size: 58, space: 32, grid: { stroke: ink.line, width: 1 }, ticks: { show: false },
        values: (_, marks) => marks.map((mark) => (chart.whole && !Number.isInteger(mark) ? "" : chart.say(mark).replace(" events", ""))) },
    ],
    hooks: { setCursor: [(plot) => on(plot.cursor.idx)] },
  };
}

function draw() {
  for (const plot of plots) plot.destroy();
  plots = [];
  const source = document.querySelector("#history [data-series]");
  const series = JSON.parse(source.dataset.series);
  place.hidden = series.events.every((value) => value == null);
  if (place.hidden) return;
  const ink = colours();
  for (const figure of place.querySelectorAll("figure")) {
    const box = figure.querySelector(".chart");
    const chart = charts[box.dataset.chart];
    const columns = chart.curves.map(([name]) => series[name]);
    const near = chart.limited && Math.max(0, ...columns[0].map((value) => value ?? 0)) > limit / 2;
    const data = [series.slots, ...columns, ...(near ? [series.slots.map(() => limit)] : [])];
    const on = (index) => tell(figure, chart, data, index);
    plots.push(new uPlot(options(box, chart, near, ink, on), data, box));
    on(null);
  }
}

draw();
document.getElementById("history").addEventListener("live:changed", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
addEventListener("resize", draw);
