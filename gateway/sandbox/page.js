"use strict";
// The page is drawn by the server. This fetches it again when the server says that something changed, and puts what is
// new into place; a telephone that somebody is typing in keeps its form.

const main = () => document.getElementById("phones");

function place(fresh) {
  const typing = document.activeElement && document.activeElement.closest(".phone");
  const placed = new Set();
  let anchor = null; // what stands before the next one
  for (const next of [...fresh.children]) {
    const known = next.matches(".phone") && document.getElementById(next.id);
    const here = known ? renew(known, next) : next;
    const wanted = anchor ? anchor.nextElementSibling : main().firstElementChild;
    if (here !== wanted && here !== typing) main().insertBefore(here, wanted); // moving it would take the focus away
    placed.add(here);
    anchor = here;
  }
  for (const one of [...main().children]) if (!placed.has(one)) one.remove();
}

function renew(known, next) {
  for (const part of [".talk", ".state"]) {
    const was = known.querySelector(part), is = next.querySelector(part);
    if (was.innerHTML === is.innerHTML) continue;
    was.replaceWith(is);
    is.scrollTop = is.scrollHeight;
  }
  return known;
}

let busy = false, again = false;

async function draw() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    do {
      again = false;
      const answer = await fetch("/sandbox/phones", {cache: "no-store"});
      if (!answer.ok) break;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("phones");
      place(fresh);
    } while (again);
  } catch { /* the sandbox is gone; the stream says when it is back */ }
  busy = false;
}

document.addEventListener("submit", async event => {
  const form = event.target;
  event.preventDefault();
  const data = new URLSearchParams(new FormData(form, event.submitter));
  if (!data.get("stop") && !(data.get("text") || "").trim()) return;
  const answer = await fetch(form.action, {method: "POST", body: data, redirect: "manual"});
  if (answer.ok || answer.type === "opaqueredirect") form.querySelector("input.text").value = "";
  draw();
});

for (const talk of document.querySelectorAll(".talk")) talk.scrollTop = talk.scrollHeight;

const live = document.getElementById("live");
const stream = new EventSource("/sandbox/events");
stream.onopen = () => { live.hidden = false; };
stream.onerror = () => { live.hidden = true; };
stream.onmessage = draw;
