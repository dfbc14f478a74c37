// An event stream that notices silence as well as errors, and comes back by itself. `on` has a function for
// each kind of message, and two more: cut(since) and signedOut().
const silence = 4000;
const retry = 2000;
const hidden = 10000;

export function listen(url, on) {
  let source = null;
  let lastAt = null;
  let cut = false;
  let timer = null;

  function heard(message) {
    lastAt = message.at ?? lastAt;
    cut = false;
    clearTimeout(timer);
    timer = setTimeout(lost, silence);
  }

  function lost() {
    if (!cut) on.cut(lastAt ?? new Date().toISOString());
    cut = true;
    open();
  }

  function open() {
    source?.close();
    clearTimeout(timer);
    timer = setTimeout(lost, silence);
    source = new EventSource(url);
    for (const name of Object.keys(on).filter((each) => each !== "cut" && each !== "signedOut")) {
      source.addEventListener(name, (event) => {
        const message = JSON.parse(event.data);
        heard(message);
        on[name](message);
      });
    }
    source.onerror = () => {
      // Still connecting: the browser tries again itself. Closed: the answer was no stream at all.
      if (source.readyState === EventSource.CLOSED) refused();
    };
  }

  async function refused() {
    const answer = await fetch(url, { method: "HEAD" }).catch(() => null);
    if (answer?.status === 401) {
      clearTimeout(timer);
      on.signedOut();
      return;
    }
    clearTimeout(timer);
    timer = setTimeout(lost, retry);
  }

  // A page that is kept for "back" holds no stream, and begins a new one when it is shown again.
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    source?.close();
  });
  addEventListener("pageshow", (event) => event.persisted && open());
  // Nor does a tab that nobody looks at: browsers open six connections to a server, for all tabs together.
  let away = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(away);
    if (!document.hidden && source.readyState === EventSource.CLOSED) open();
    if (document.hidden) {
      away = setTimeout(() => {
        clearTimeout(timer);
        source.close();
      }, hidden);
    }
  });
  open();
}
