// What a page does beyond htmx: keep quiet while it is not looked at or worked on, say when the gateway is lost, and
// pick all rows at once. Everything works without it.
"use strict";

const lost = document.querySelector(".lost");

const isWorkedOn = (part) =>
  part.querySelector("input[type=checkbox]:checked") !== null || !document.getSelection().isCollapsed;

document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.detail.elt;
  if (part.id === "live" && (document.hidden || isWorkedOn(part))) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const part = event.detail.target;
  if (part.id === "live" && isWorkedOn(part)) event.detail.shouldSwap = false;
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
