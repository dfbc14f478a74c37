// A page on which nothing is under way asks again only while somebody looks at it.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.matches('#timeline[data-over="true"]')) event.preventDefault();
});
