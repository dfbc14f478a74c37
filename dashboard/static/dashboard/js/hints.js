// Puts an opened explanation beside its "?", within the window.
const margin = 12;

document.addEventListener(
  "toggle",
  (event) => {
    const text = event.target;
    if (event.newState !== "open" || !text.classList?.contains("hint-text")) return;
    const button = document.querySelector(`[popovertarget="${text.id}"]`).getBoundingClientRect();
    const { width, height } = text.getBoundingClientRect();
    const left = Math.min(Math.max(button.left - 8, margin), innerWidth - width - margin);
    const below = button.bottom + 8;
    text.style.left = `${left}px`;
    text.style.top = `${below + height < innerHeight ? below : Math.max(button.top - height - 8, margin)}px`;
  },
  true,
);
addEventListener("scroll", () => document.querySelector(".hint-text:popover-open")?.hidePopover(), { passive: true });
