// A click on a shortened id copies the whole one, and says so where it was clicked.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copy(button.dataset.copy);
  if (button.classList.contains("copied")) return;
  const shown = button.textContent;
  // The same width, so that the table does not jump.
  button.textContent = "copied".padEnd(shown.length, "\u00a0").slice(0, Math.max(shown.length, 6));
  button.classList.add("copied");
  setTimeout(() => {
    button.textContent = shown;
    button.classList.remove("copied");
  }, 900);
});

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without TLS, other than on localhost, browsers offer only the old way.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
