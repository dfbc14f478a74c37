// The table of volumes as charts, and both kept up to date: what is drawn is always what the table says.
import { badge } from "./badge.js";
import { bars, redrawn } from "./bars.js";
import { cutNotice } from "./notices.js";
import { listen } from "./stream.js";

const charts = document.getElementById("charts");
const body = document.querySelector("#volumes tbody");
const live = document.getElementById("live");
const notices = document.getElementById("notices");
const most = 400;

const statuses = charts?.dataset.statuses.split(" ") ?? [];
let slots = charts?.dataset.slots.split(" ").filter(Boolean).map(Number) ?? [];

// Latest slot first, then by currency, then by the life of a payment.
function precedes(one, other) {
  const [a, b] = [one.dataset, other.dataset];
  if (a.slot !== b.slot) return Number(a.slot) > Number(b.slot);
  if (a.currency !== b.currency) return a.currency < b.currency;
  return statuses.indexOf(a.status) < statuses.indexOf(b.status);
}

// `whole` are slots of which the rows are all there are: of theirs, what is not among them is gone.
function merge({ html, whole }) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  let changed = false;
  const told = new Set([...fresh.content.children].map((row) => row.id));
  const complete = new Set(whole.map((slot) => slot.join()));
  for (const row of [...body.rows]) {
    if (told.has(row.id) || !complete.has(`${row.dataset.slot},${row.dataset.currency}`)) continue;
    row.remove();
    changed = true;
  }
  for (const row of [...fresh.content.children]) {
    if (Number(row.dataset.slot) < (slots[0] ?? 0)) continue;
    const old = document.getElementById(row.id);
    if (old?.outerHTML === row.outerHTML) continue;
    changed = true;
    if (old) old.replaceWith(row);
    else body.insertBefore(row, [...body.rows].find((each) => precedes(row, each)) ?? null);
  }
  return changed;
}

// The range moves on with the clock, unless its beginning was asked for.
function move(latest) {
  const added = latest.filter((slot) => slot > (slots.at(-1) ?? 0));
  slots.push(...added);
  const gone = charts.dataset.moving === "true" ? added.length : Math.max(slots.length - most, 0);
  slots = slots.slice(gone);
  if (gone) for (const row of [...body.rows]) if (Number(row.dataset.slot) < slots[0]) row.remove();
  return added.length > 0;
}

function draw() {
  document.getElementById("no-volumes").hidden = body.rows.length > 0;
  bars(charts, slots, [...body.rows].map((row) => row.dataset), statuses);
}

function say(state, word) {
  live.dataset.state = state;
  live.querySelector("[data-word]").textContent = word;
}

if (charts) {
  draw();
  redrawn(draw);
}
if (charts?.dataset.stream) {
  listen(charts.dataset.stream, {
    badge,
    volumes(message) {
      const moved = move(message.slots);
      if (merge(message) || moved) draw();
      charts.dataset.stale = "false";
      if (message.away) {
        say("warn", "late");
        cutNotice(notices, "Kafka or the database does not answer in time: slots that close are late. Away since", message.away);
      } else {
        say("ok", "live");
        notices.replaceChildren();
      }
    },
    silent({ word, text, since, link }) {
      charts.dataset.stale = "true";
      say("bad", word);
      cutNotice(notices, text, since, link);
    },
  });
}
