// The live flow: figures and rows from the server's event stream.
import { badge } from "./badge.js";
import { move } from "./moving.js";
import { cutNotice } from "./notices.js";
import { replaceRows } from "./rows.js";
import { spark } from "./spark.js";
import { listen } from "./stream.js";
import { showTimes } from "./times.js";

const pipeline = document.querySelector(".pipeline");
const live = document.getElementById("live");
const notices = document.getElementById("notices");
const broken = document.getElementById("broken"); // read out when a part breaks
let told = "";

function say(state, word) {
  live.dataset.state = state;
  live.querySelector("[data-word]").textContent = word;
}

// `kind` is "stage" or "lane": a service may have the name of a stage.
function draw(kind, name, stage) {
  const box = pipeline.querySelector(`[data-${kind}="${CSS.escape(name)}"]`);
  if (!box) return;
  if (stage.state === "bad" && box.dataset.state !== "bad") broken.textContent = `${name}: ${stage.word}`;
  box.dataset.state = stage.state;
  box.querySelector("h3").dataset.state = stage.state;
  box.querySelector("[data-word]").textContent = stage.word;
  const remedy = box.querySelector("[data-remedy]");
  if (remedy.dataset.told !== stage.remedy) {
    remedy.innerHTML = stage.remedy;
    remedy.dataset.told = stage.remedy;
  }
  for (const [key, figure] of Object.entries(stage.figures)) {
    const cell = box.querySelector(`[data-figure="${CSS.escape(key)}"]`);
    cell.children[0].textContent = figure.value;
    cell.children[1].textContent = figure.unit;
    cell.dataset.unknown = String(!figure.known);
    cell.dataset.beyond = String(figure.beyond);
    cell.title = figure.known ? "" : "unknown";
  }
  const curve = box.querySelector(".spark");
  if (curve) spark(curve, stage.delay);
  if (!stage.moved) return;
  const wire = kind === "lane" ? "lane-wire" : "wire";
  move(pipeline.querySelector(`[data-${wire}="${CSS.escape(name)}"]`), stage.moved);
}

function notice(html) {
  if (html === told) return;
  told = html;
  notices.innerHTML = html;
  showTimes(notices);
}

listen(document.body.dataset.stream, {
  badge,
  pipeline(message) {
    pipeline.dataset.stale = "false";
    if (message.away) say("bad", "no answer");
    else say("ok", "live");
    for (const [name, stage] of Object.entries(message.stages)) draw("stage", name, stage);
    for (const [name, lane] of Object.entries(message.lanes)) draw("lane", name, lane);
    notice(message.notices);
  },
  events(message) {
    const body = document.querySelector("#events tbody");
    replaceRows(body, message.html);
    document.getElementById("no-events").hidden = body.rows.length > 0;
  },
  silent({ word, text, since, link }) {
    pipeline.dataset.stale = "true";
    say("bad", word);
    cutNotice(notices, text, since, link);
    told = null;
  },
});
