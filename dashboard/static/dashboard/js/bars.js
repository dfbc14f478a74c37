// Bars by slot with uPlot: for each currency a panel, in it for each status a pair, count and amount. Statuses
// and currencies have charts of their own: adding them up would say nothing. An open slot is drawn lighter.
const height = 92;
const drawn = new Map();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });

function labels(charts) {
  const { zone, slot } = charts.dataset;
  const day = { day: "2-digit", month: "short" };
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const short = new Intl.DateTimeFormat(undefined, { timeZone: zone, ...(slot === "1d" ? day : time) });
  const long = new Intl.DateTimeFormat(undefined, { timeZone: zone, ...day, ...(slot === "1d" ? { year: "numeric" } : time) });
  return [short, long].map((format) => (epoch) => format.format(epoch * 1000));
}

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...content);
  return made;
}

function colours(place) {
  const style = getComputedStyle(place);
  const probe = element("i", "probe");
  place.append(probe);
  const line = getComputedStyle(probe).color;
  probe.remove();
  return { bar: style.color, quiet: getComputedStyle(document.querySelector(".quiet")).color, line };
}

function options(place, axis, { label, tell }) {
  const { bar, quiet, line } = colours(place);
  const font = `11px ${getComputedStyle(document.querySelector(".number") ?? place).fontFamily}`;
  const series = (alpha) => ({
    fill: bar, stroke: bar, width: 0, alpha, points: { show: false },
    paths: uPlot.paths.bars({ size: [0.72, 40], align: 0 }),
  });
  return {
    width: place.clientWidth, height: height + (axis ? 22 : 0), legend: { show: false }, padding: [8, 6, axis ? 0 : 8, 0],
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false, range: (_, least, most) => [least - 0.6, most + 0.6] }, y: { range: (_, _least, most) => [0, most || 1] } },
    series: [{}, series(1), series(0.38)],
    axes: [
      { show: axis, stroke: quiet, font, size: 22, space: 64, grid: { show: false }, ticks: { show: false }, incrs: [1, 2, 5, 10, 15, 20, 30, 60, 120],
        values: (_, marks) => marks.map((mark) => label(mark)) },
      { stroke: quiet, font, size: 52, space: 34, grid: { stroke: line, width: 1 }, ticks: { show: false },
        values: (_, marks) => marks.map((mark) => (Number.isInteger(mark) || place.dataset.measure === "amount" ? compact.format(mark) : "")) },
    ],
    hooks: { setCursor: [(plot) => tell(plot.cursor.idx)] },
  };
}

function plot(place, axis, slots, values, open, words) {
  const closed = values.map((value, index) => (open[index] ? null : value));
  const lighter = values.map((value, index) => (open[index] ? value : null));
  const data = [slots.map((_, index) => index), closed, lighter];
  const key = `${axis}-${place.clientWidth}`;
  const known = drawn.get(place);
  place.tell = words.tell;
  place.label = words.label;
  if (known?.key === key) return known.plot.setData(data);
  known?.plot.destroy();
  const through = { label: (index) => place.label(index), tell: (index) => place.tell(index) };
  drawn.set(place, { key, plot: new uPlot(options(place, axis, through), data, place) });
}

// The pair of a currency's status, made once.
function pairOf(charts, currency, status) {
  let panel = charts.querySelector(`[data-panel="${currency}"]`);
  if (!panel) {
    panel = element("section", "panel", element("header", "", element("h2", "", currency, element("span", "small quiet", "count")), element("span", "small quiet", "amount")), element("div", "multiples"));
    panel.dataset.panel = currency;
    panel.setAttribute("aria-label", `Charts of ${currency}; the table says the same`);
    const after = [...charts.children].find((each) => each.dataset.panel > currency);
    charts.insertBefore(panel, after ?? null);
  }
  const multiples = panel.querySelector(".multiples");
  let pair = multiples.querySelector(`[data-pair="${status}"]`);
  if (!pair) {
    const state = { pending: "wait", validated: "ok", rejected: "bad", refunded: "warn" }[status];
    const name = element("span", "state", element("span", "mark"), status);
    name.dataset.state = state;
    pair = element("div", "pair-of-charts", element("p", "told", name, element("span", "number quiet")), ...["count", "amount"].map((measure) => {
      const place = element("div", `chart ${status}`);
      place.dataset.measure = measure;
      return place;
    }));
    pair.dataset.pair = status;
    pair.setAttribute("aria-hidden", "true");
    multiples.append(pair);
  }
  return pair;
}

export function bars(charts, slots, rows, statuses) {
  const [short, long] = labels(charts);
  const place = new Map(slots.map((slot, index) => [slot, index]));
  const currencies = [...new Set(rows.map((row) => row.currency))].sort();
  for (const panel of charts.querySelectorAll("[data-panel]")) if (!currencies.includes(panel.dataset.panel)) panel.remove();
  for (const currency of currencies) {
    const own = rows.filter((row) => row.currency === currency);
    const present = statuses.filter((status) => own.some((row) => row.status === status));
    const multiples = pairOf(charts, currency, present[0]).parentElement;
    for (const pair of [...multiples.children]) if (!present.includes(pair.dataset.pair)) pair.remove();
    present.forEach((status, index) => {
      const pair = pairOf(charts, currency, status);
      multiples.append(pair);
      const found = new Map(own.filter((row) => row.status === status).map((row) => [place.get(Number(row.slot)), row]));
      const open = slots.map((_, slot) => found.get(slot)?.open === "true");
      const said = pair.querySelector(".told .number");
      const tell = (slot) => {
        const row = found.get(slot);
        said.textContent = slot == null || slots[slot] === undefined ? "" : `${long(slots[slot])}: ${row ? `${row.count} payments, ${row.amount} ${currency}${row.open ? ", so far" : ""}` : "none"}`;
      };
      for (const chart of pair.querySelectorAll(".chart")) {
        const values = slots.map((_, slot) => Number(found.get(slot)?.[chart.dataset.measure] ?? 0) || null);
        plot(chart, index === present.length - 1, slots, values, open, { label: (slot) => (slots[slot] === undefined ? "" : short(slots[slot])), tell });
      }
    });
  }
  for (const [chart, { plot: gone }] of [...drawn]) if (!chart.isConnected) { gone.destroy(); drawn.delete(chart); }
}

// Everything anew when the theme or the width has changed: a canvas follows no stylesheet.
export function redrawn(draw) {
  const again = () => {
    for (const { plot: old } of drawn.values()) old.destroy();
    drawn.clear();
    draw();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  addEventListener("resize", draw);
}
