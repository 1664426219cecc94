// What a page does beyond htmx: keep quiet while it is not looked at or worked on, say when the gateway is lost, and
// pick all rows at once. Everything works without it.
"use strict";

const lost = document.querySelector(".lost");

document.addEventListener("htmx:beforeRequest", (event) => {
  const asked = event.detail.elt;
  if (asked.id !== "live") return;
  const working = asked.querySelector("input[type=checkbox]:checked") || !document.getSelection().isCollapsed;
  if (document.hidden || working) event.preventDefault();
});

for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
  document.addEventListener(name, (event) => {
    if (event.detail.elt.id === "live") lost.hidden = false;
  });
}

document.addEventListener("htmx:afterOnLoad", () => { lost.hidden = true; });

document.addEventListener("change", (event) => {
  const name = event.target.dataset.all;
  if (!name) return;
  for (const box of event.target.form.elements[name].length ? event.target.form.elements[name] : [event.target.form.elements[name]]) {
    box.checked = event.target.checked;
  }
});

// "/" leads to the search field of a page that has one
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    const field = document.querySelector("form[role=search] input");
    if (field) { event.preventDefault(); field.focus(); }
  }
});
