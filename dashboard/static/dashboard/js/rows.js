// New rows into a table without disturbing what is selected, focused or hovered: only what differs changes.
import { showTimes } from "./times.js";

const sources = new WeakMap();

export function replaceRows(body, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const wanted = [...fresh.content.children];
  const present = new Map([...body.rows].map((row) => [row.id, row]));
  const first = present.size === 0;
  let place = body.firstElementChild;
  for (const row of wanted) {
    const source = row.outerHTML;
    const old = present.get(row.id);
    present.delete(row.id);
    let node = old;
    if (!old || (sources.get(old) !== source && !old.contains(document.activeElement))) {
      node = row;
      sources.set(row, source);
      showTimes(row);
      if (old?.getAttribute("aria-selected")) row.setAttribute("aria-selected", "true");
      if (!old && !first) row.classList.add("fresh");
      if (old === place) place = row;
      old?.replaceWith(row);
    }
    if (node === place) place = place.nextElementSibling;
    else body.insertBefore(node, place);
  }
  for (const gone of present.values()) gone.remove();
}
