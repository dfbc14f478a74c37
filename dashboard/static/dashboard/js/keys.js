// In a table: j and k move, Enter opens. Anywhere: / goes to the search, and Escape out of it.
const typing = (target) => target.closest("input, textarea, select, [contenteditable]");

function step(table, by) {
  const rows = [...table.tBodies[0].rows].filter((row) => row.dataset.href);
  const at = rows.findIndex((row) => row.getAttribute("aria-selected") === "true");
  const next = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
  if (!next) return;
  rows[at]?.removeAttribute("aria-selected");
  next.setAttribute("aria-selected", "true");
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.matches('input[type="search"]')) event.target.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const table = document.querySelector("table[data-keys]");
  if (event.key === "/") {
    const search = document.querySelector('input[type="search"]');
    if (!search) return;
    event.preventDefault();
    search.focus();
  } else if (table && (event.key === "j" || event.key === "k")) {
    step(table, event.key === "j" ? 1 : -1);
  } else if (table && event.key === "Enter" && event.target.closest("tr[aria-selected]") === event.target) {
    location.href = event.target.dataset.href;
  }
});
