// A dot along a wire when events have passed it: one for one event, three for many, none when motion is unwanted.
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const most = 3;

export function move(wire, events) {
  if (!wire || calm.matches || document.hidden) return;
  for (let dot = 0; dot < Math.min(events, most); dot += 1) setTimeout(() => send(wire), dot * 170);
}

function send(wire) {
  const dot = document.createElement("i");
  dot.className = "moving";
  dot.addEventListener("animationend", () => dot.remove());
  dot.addEventListener("animationcancel", () => dot.remove());
  wire.append(dot);
}
