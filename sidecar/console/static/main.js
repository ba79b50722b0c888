// Loads the page's content with the viewer's session, and keeps it up to date.

import { drawCharts } from "./charts.js";
import { announce, fill, fromTemplate, problemOf, remember, send, word } from "./dom.js";
import { wireForms } from "./forms.js";
import { follow, stop } from "./live.js";
import { signInForm, signOut } from "./session.js";

const view = document.getElementById("view");
const MIN_INTERVAL = 2000; // milliseconds between two updates of a page that changes all the time

let signedIn = false;
let planned = false;
let last = 0;
let watching = 0;

function address() {
  const path = location.pathname === "/" ? "/overview" : location.pathname;
  return `/view${path}${location.search}`;
}

function shares(root) {
  for (const part of root.querySelectorAll("[data-share]")) part.style.flexGrow = part.dataset.share;
}

function enhance(root) {
  shares(root);
  wireForms(root, load);
  drawCharts(root);
}

function showInstead(element) {
  stop();
  view.replaceChildren(element);
  view.setAttribute("aria-busy", "false");
}

async function refused(response) {
  const { message, reason, decision } = await problemOf(response);
  if (response.status === 401) {
    showInstead(signInForm(signedIn ? word("ended") : "", load));
    view.querySelector("input").focus();
    return;
  }
  const denied = response.status === 403;
  const box = fromTemplate(denied ? "denial" : "failure");
  fill(box, "[data-message]", message);
  if (denied) {
    fill(box, "[data-reason]", reason);
    fill(box, "[data-decision]", decision);
    who();
  } else {
    box.querySelector("[data-retry]").addEventListener("click", load);
  }
  showInstead(box);
}

async function who() {
  document.getElementById("sign-out").hidden = false;
  const response = await send("/api/me");
  if (!response.ok) return;
  const me = await response.json();
  const shown = document.getElementById("who");
  shown.textContent = me.username;
  shown.hidden = false;
}

async function load() {
  try {
    const response = await send(address());
    if (!response.ok) {
      await refused(response);
      return;
    }
    view.innerHTML = await response.text(); // rendered and escaped by the console itself
    view.setAttribute("aria-busy", "false");
    signedIn = true;
    last = Date.now();
    enhance(view);
    who();
    follow(planUpdate, load);
    watch();
  } catch (error) {
    const box = fromTemplate("failure");
    fill(box, "[data-message]", error.message);
    box.querySelector("[data-retry]").addEventListener("click", load);
    showInstead(box);
  }
}

// Several changes in a short time are one update.
function planUpdate() {
  if (planned) return;
  planned = true;
  setTimeout(update, Math.max(last + MIN_INTERVAL - Date.now(), 0));
}

// Replaces the parts that have changed, so that focus, scrolling and open parts stay.
async function update() {
  last = Date.now();
  planned = false;
  try {
    const response = await send(address());
    if (!response.ok) {
      await refused(response);
      return;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const before = document.getElementById("standing")?.querySelector(".alerts")?.textContent;
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = document.getElementById(part.id);
      if (!old || old.contains(document.activeElement) || old.innerHTML === part.innerHTML) continue;
      old.innerHTML = part.innerHTML;
      old.toggleAttribute("data-moving", part.hasAttribute("data-moving"));
      shares(old);
      wireForms(old, load);
    }
    const after = document.getElementById("standing")?.querySelector(".alerts");
    if (after && after.textContent !== before) announce(after.textContent.replace(/\s+/g, " "));
  } catch {
    // The console does not answer: the stream ends too, and shows it.
  }
}

// While steps are taken, the page is read again although the cluster does not change.
function watch() {
  clearTimeout(watching);
  if (view.querySelector("[data-moving]")) watching = setTimeout(() => update().finally(watch), MIN_INTERVAL);
}

document.getElementById("sign-out").addEventListener("click", signOut);
document.getElementById("language").addEventListener("click", () => {
  remember("console-language", document.documentElement.lang === "en" ? "zh" : "en");
  location.reload();
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("console-theme", root.dataset.theme);
});

// On a narrow screen the navigation scrolls.
document.querySelector("nav [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });

load();
