// Before anything is painted: the theme that was chosen here before. Without a choice the system's is used.
const chosen = localStorage.getItem("theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
