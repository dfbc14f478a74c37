// An event stream that notices silence as well as errors, and comes back by itself. `on` has a function for
// each kind of message, and silent({ word, text, since, link }) for when none comes, once for each reason.
const silence = 4000;
const retry = 2000;
const hidden = 10000;

const noAnswer = { word: "no live figures", text: "The server does not answer; trying again every few seconds. The figures are from", again: true };
// What an answer that is no stream means. Where nobody but the user can do something, it is not asked for again.
const meanings = {
  400: { word: "no such filter", text: "The server does not understand the filter of this page, whose figures do not move.", link: [location.pathname, "Leave the filter out"] },
  401: { word: "signed out", text: "You have been signed out; these figures no longer move.", link: ["", "Sign in again"] },
  403: { word: "not allowed", text: "You may no longer see this; these figures no longer move. Ask an administrator, or sign in as somebody who may.", link: ["", "Load the page again"] },
  404: { word: "not there", text: "What this page shows is not there any more; these figures no longer move." },
  503: { word: "no live figures", text: "The server says that it cannot answer now; trying again every few seconds. The figures are from", again: true },
};
const failed = (status) => ({ word: "no live figures", text: `The server answers with an error (${status}); trying again every few seconds. The figures are from`, again: true });

export function listen(url, on) {
  let source = null;
  let lastAt = null;
  let told = "";
  let timer = null;

  function heard(message) {
    lastAt = message.at ?? lastAt;
    told = "";
    clearTimeout(timer);
    timer = setTimeout(lost, silence);
  }

  function tell({ word, text, again, link }) {
    if (told !== text) on.silent({ word, text, since: again ? lastAt ?? new Date().toISOString() : null, link });
    told = text;
  }

  function lost() {
    tell(noAnswer);
    open();
  }

  function open() {
    source?.close();
    clearTimeout(timer);
    timer = setTimeout(lost, silence);
    source = new EventSource(url);
    for (const name of Object.keys(on).filter((each) => each !== "silent")) {
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
    clearTimeout(timer);
    if (!answer || answer.ok) {
      timer = setTimeout(lost, retry);
      return;
    }
    const meaning = meanings[answer.status] ?? failed(answer.status);
    tell(meaning);
    if (meaning.again) timer = setTimeout(open, retry);
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
