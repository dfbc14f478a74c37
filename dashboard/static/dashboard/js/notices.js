// What a page says by itself, when there is no server to say it.
import { showTimes } from "./times.js";

export function cutNotice(notices, words, since, link) {
  notices.replaceChildren(notice("bad", words, since, link));
  showTimes(notices);
}

export function notice(state, words, since, link) {
  const line = document.createElement("p");
  line.className = "notice";
  line.dataset.state = state;
  line.role = "status";
  const mark = document.createElement("span");
  mark.className = "mark";
  const text = document.createElement("span");
  text.append(words);
  if (since) {
    const time = document.createElement("time");
    time.dateTime = since;
    time.dataset.form = "clock";
    text.append(" ", time, ".");
  }
  if (link) {
    const anchor = document.createElement("a");
    [anchor.href, anchor.textContent] = link;
    text.append(" ", anchor);
  }
  line.append(mark, text);
  return line;
}
