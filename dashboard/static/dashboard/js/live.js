// A page whose regions come from the server's event stream, each by the id of its element. The page has
// data-stream on its body, #live for the stream's state, and #notices. A region in which somebody types, or that
// has data-hold and is pointed at or focused, is left alone until they are done (data-hold="always": until
// "live:release"), and with it the one that names it in data-held-with. The region gets "live:held" with what waits,
// and "live:changed" after a change.
import { cutNotice, notice } from "./notices.js";
import { replaceRows } from "./rows.js";
import { listen } from "./stream.js";
import { showTimes } from "./times.js";

const live = document.getElementById("live");
const notices = document.getElementById("notices");
const held = new Map();
let told = null;

function say(state, word) {
  live.dataset.state = state;
  live.querySelector("[data-word]").textContent = word;
}

function busy(region) {
  if (region.dataset.heldWith) return busy(document.getElementById(region.dataset.heldWith));
  const typing = document.activeElement?.matches("input, textarea, select") && region.contains(document.activeElement);
  return typing || Boolean(region.querySelector("details[open]")) || region.dataset.hold === "always" || (region.matches("[data-hold]") && region.matches(":hover, :focus-within"));
}

function replace(id, html) {
  const region = document.getElementById(id);
  if (!region) return;
  if (busy(region)) {
    held.set(id, html);
    region.dataset.held = "true";
    region.dispatchEvent(new CustomEvent("live:held", { bubbles: true, detail: html }));
    return;
  }
  held.delete(id);
  delete region.dataset.held;
  if (region.matches("tbody")) replaceRows(region, html);
  else {
    const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
    region.innerHTML = html;
    showTimes(region);
    window.htmx?.process(region);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
  region.dispatchEvent(new CustomEvent("live:changed", { bubbles: true }));
}

function release() {
  for (const [id, html] of [...held]) replace(id, html);
}
document.addEventListener("pointerout", () => setTimeout(release));
document.addEventListener("focusout", () => setTimeout(release));
document.addEventListener("toggle", () => setTimeout(release), true);
document.addEventListener("live:release", release);

function stale(is) {
  for (const region of document.querySelectorAll("[data-region]")) region.dataset.stale = String(is(region.dataset.region));
}

const partsInWords = { standing: "how it stands", aside: "dead letters and parked keys", badge: "how many alarms there are", history: "its history", acts: "what operators did", causes: "the causes", letters: "the letters", alarms: "the alarms", events: "the events", event: "what became of it", parked: "the parked keys", jobs: "the jobs", consumers: "the consumers", topics: "the topics", parts: "the parts" };

// What is away, or which parts are not known, each with since when. A page of one part does not name it.
function tell({ away, slow }) {
  const said = JSON.stringify([away, slow]);
  if (said === told) return;
  told = said;
  if (away) cutNotice(notices, "The database does not answer. The figures are the last it gave. Away since", away);
  else {
    notices.replaceChildren(...Object.entries(slow).map(([part, since]) => notice("warn", `Not known at the moment: ${partsInWords[part] ?? part}. The database takes too long to say; what is shown is from before`, since)));
    showTimes(notices);
  }
  stale((part) => Boolean(away) || part in slow || (!part && Object.keys(slow).length > 0));
  if (away) say("bad", "no answer");
  else if (Object.keys(slow).length) say("warn", "partly live");
  else say("ok", "live");
}

listen(document.body.dataset.stream, {
  regions(message) {
    for (const [id, html] of Object.entries(message.regions)) replace(id, html);
    tell(message);
  },
  silent({ word, text, since, link }) {
    told = null;
    stale(() => true);
    say("bad", word);
    cutNotice(notices, text, since, link);
  },
});
