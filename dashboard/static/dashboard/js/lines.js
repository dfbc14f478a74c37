// Lines, edited: a running total, exact, and for an order how far it is from what it must come to.
const least = 1n;

// Minor units of a decimal text; null when it is none of this currency.
function minor(text, decimals) {
  const match = /^(0|[1-9]\d*)(?:\.(\d+))?$/.exec(text.trim());
  if (!match || (match[2] ?? "").length > decimals) return null;
  return BigInt(match[1] + (match[2] ?? "").padEnd(decimals, "0"));
}

function written(amount, decimals) {
  const digits = String(amount).padStart(decimals + 1, "0");
  return decimals ? `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : digits;
}

function rowsOf(editor) {
  const column = (name) => [...editor.querySelectorAll(`[name="${name}"]`)];
  const [skus, quantities, prices] = ["sku", "quantity", "unit_price"].map(column);
  return skus.map((sku, index) => [sku, quantities[index], prices[index]]);
}

function sum(editor, decimals) {
  let total = 0n;
  let known = true;
  for (const [sku, quantity, price] of rowsOf(editor)) {
    if (!sku.value.trim() && !quantity.value.trim() && !price.value.trim()) continue;
    const each = minor(price.value, decimals);
    const count = /^\d{1,9}$/.test(quantity.value.trim()) ? BigInt(quantity.value.trim()) : 0n;
    if (each === null || count < least || !sku.value.trim()) known = false;
    else total += each * count;
  }
  return { total, known };
}

function say(editor, state, word) {
  const said = editor.querySelector("[data-sum]");
  said.dataset.state = state;
  said.querySelector("[data-word]").textContent = word;
}

const blank = (editor) => rowsOf(editor).every((row) => row.every((input) => !input.value.trim()));

// Lines of a payment that is yet to be made: what they come to is its amount.
function showAmount(editor) {
  const { amount, currency } = editor.closest("form").elements;
  const code = currency.value.trim().toUpperCase();
  const unusual = editor.dataset.unusual.split(" ").map((each) => each.split(":"));
  const decimals = Number(new Map(unusual).get(code) ?? 2);
  const { total, known } = sum(editor, decimals);
  amount.readOnly = !blank(editor);
  if (blank(editor)) return say(editor, "none", "no lines");
  amount.value = known ? written(total, decimals) : "";
  if (known) say(editor, "ok", `${amount.value} ${code}`);
  else say(editor, "warn", "a line is not complete");
}

function show(editor) {
  if (!("total" in editor.dataset)) return showAmount(editor);
  const { decimals, currency } = editor.dataset;
  const wanted = minor(editor.dataset.total, Number(decimals));
  const { total, known } = sum(editor, Number(decimals));
  const money = (amount) => `${written(amount, Number(decimals))} ${currency}`;
  let [state, word] = ["ok", `${money(total)}, as before`];
  if (blank(editor)) [state, word] = ["none", `no lines of ${money(wanted)}`];
  else if (!known) [state, word] = ["warn", "a line is not complete"];
  else if (total < wanted) [state, word] = ["warn", `${money(total)}: ${money(wanted - total)} missing`];
  else if (total > wanted) [state, word] = ["warn", `${money(total)}: ${money(total - wanted)} too much`];
  say(editor, state, word);
}

function add(editor) {
  const [last] = rowsOf(editor).slice(-1);
  const number = rowsOf(editor).length + 1;
  for (const input of last) {
    const fresh = input.cloneNode();
    fresh.value = "";
    fresh.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\d+$/, number));
    editor.querySelector(".rows").append(fresh);
  }
  rowsOf(editor).at(-1)[0].focus();
}

function begin(within) {
  for (const editor of within.querySelectorAll("[data-lines]")) {
    editor.querySelector("[data-add]").hidden = false;
    show(editor);
  }
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("form");
  for (const editor of form?.querySelectorAll("[data-lines]") ?? []) show(editor);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-add]");
  if (button) add(button.closest("[data-lines]"));
});
document.addEventListener("htmx:load", (event) => begin(event.target));
begin(document);
