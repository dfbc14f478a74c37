// The tail of a live table: what comes in waits while the table is pointed at or focused, or while the switch says
// so, and is counted meanwhile. A press of the switch lets it in.
const rows = document.getElementById("rows");
const state = document.getElementById("tail");
const hold = document.getElementById("hold");
let waiting = 0;

function show() {
  const held = hold.getAttribute("aria-pressed") === "true";
  const paused = held || rows.dataset.held === "true" || rows.matches(":hover, :focus-within");
  const word = `paused: ${waiting} new`;
  if (state.querySelector("[data-word]").textContent !== word) state.querySelector("[data-word]").textContent = word;
  state.hidden = !paused;
  hold.textContent = held ? "Follow" : "Pause";
}

hold.addEventListener("click", () => {
  const held = hold.getAttribute("aria-pressed") !== "true";
  hold.setAttribute("aria-pressed", String(held));
  rows.dataset.hold = held ? "always" : "";
  document.dispatchEvent(new Event("live:release"));
  show();
});
rows.addEventListener("live:held", (event) => {
  const come = document.createElement("template");
  come.innerHTML = event.detail;
  const all = [...come.content.children];
  const unseen = all.filter((row) => !document.getElementById(row.id)).length;
  // A whole page of them: those before it are counted by nobody.
  waiting = unseen && unseen === all.length ? `${unseen} or more` : unseen;
  show();
});
rows.addEventListener("live:changed", () => {
  waiting = 0;
  show();
});
for (const name of ["pointerenter", "pointerleave", "focusin", "focusout"]) rows.addEventListener(name, () => setTimeout(show));

hold.hidden = false;
show();
