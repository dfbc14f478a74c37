// Rows that are ticked stay ticked while their table is refreshed, and are counted; what acts on them waits for
// one. Without script the boxes and the buttons work as they are.
for (const form of document.querySelectorAll("[data-selection]")) {
  const chosen = new Set();
  const said = form.querySelector("[data-selected]");
  const all = form.querySelector("[data-select-all]");
  const boxes = () => [...form.querySelectorAll('input[type="checkbox"][name]')];

  const show = () => {
    const there = new Set(boxes().map((box) => box.value));
    for (const value of chosen) if (!there.has(value)) chosen.delete(value);
    for (const box of boxes()) box.checked = chosen.has(box.value);
    if (said) said.textContent = chosen.size ? `${chosen.size} selected` : "";
    for (const button of form.querySelectorAll("[data-for-selected]")) button.disabled = chosen.size === 0;
    if (all) {
      all.hidden = there.size === 0;
      all.checked = there.size > 0 && chosen.size === there.size;
      all.indeterminate = chosen.size > 0 && !all.checked;
    }
  };
  const take = (box) => (box.checked ? chosen.add(box.value) : chosen.delete(box.value));

  form.addEventListener("change", (event) => {
    if (event.target === all) for (const box of boxes()) take(Object.assign(box, { checked: all.checked }));
    else if (event.target.matches('input[type="checkbox"][name]')) take(event.target);
    show();
  });
  form.addEventListener("live:changed", show);
  // What the browser has kept of an earlier visit.
  addEventListener("pageshow", () => {
    boxes().filter((box) => box.checked).forEach(take);
    show();
  });
}
