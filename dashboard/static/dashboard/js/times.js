// Every <time> of the page in the viewer's zone: as an age that counts on, a clock time, or exact.
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function age(milliseconds) {
  const seconds = Math.max(milliseconds, 0) / 1000;
  if (seconds < 1) return "< 1 s";
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function exact(at) {
  return `${day.format(at)}, ${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

function show(time) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) return;
  if (!time.dataset.placed) {
    time.title = exact(at);
    time.dataset.placed = "true";
    if (time.dataset.form === "exact") time.textContent = exact(at);
    if (time.dataset.form === "clock") time.textContent = clock.format(at);
  }
  if (time.dataset.form === "age") {
    const text = age(Date.now() - at);
    if (time.textContent !== text) time.textContent = text;
  }
}

export function showTimes(within = document) {
  within.querySelectorAll("time").forEach(show);
}

showTimes();
setInterval(showTimes, 1000);
document.addEventListener("htmx:load", (event) => showTimes(event.target));
