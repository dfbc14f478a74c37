// The curve of a consumer's sync delay since the page was opened, two minutes at most. Its limit is drawn
// once the curve comes near: before, it would press the curve flat.
const most = 120;
const height = 24;
const histories = new WeakMap();

export function spark(svg, delay) {
  const history = histories.get(svg) ?? [];
  histories.set(svg, history);
  history.push(delay);
  if (history.length > most) history.shift();
  const limit = Number(svg.dataset.limit);
  const highest = Math.max(...history.map((value) => value ?? 0));
  const near = highest > limit / 2;
  svg.classList.toggle("beyond", near);
  const top = Math.max(highest, near ? limit : 0, 0.001) * 1.15;
  const y = (value) => (height - 1 - (value / top) * (height - 2)).toFixed(2);
  svg.querySelector("line").setAttribute("y1", y(limit));
  svg.querySelector("line").setAttribute("y2", y(limit));
  svg.querySelector("path").setAttribute("d", curve(history, y));
}

// A break where the delay was unknown, or where nothing had passed.
function curve(history, y) {
  const start = most - history.length;
  let pen = "M";
  return history
    .map((value, index) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const point = `${pen}${start + index} ${y(value)}`;
      pen = "L";
      return point;
    })
    .join("");
}
