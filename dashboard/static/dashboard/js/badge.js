// How many alarms there are, in the navigation, from a stream of messages. Live pages have it as a region.
const count = document.getElementById("alarm-count");

export function badge({ html }) {
  count.innerHTML = html;
}
