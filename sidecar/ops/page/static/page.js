// Keeps the page up to date: the same document again, of which only what has changed is replaced.
// Without JavaScript the page shows one moment, and its forms and links work the same.

const INTERVAL = 2000; // milliseconds
const TYPING = 250; // milliseconds without a key before a filter applies

const policy = self.trustedTypes?.createPolicy("page", { createHTML: (html) => html });

function parsed(html) {
  // The only place where text becomes HTML. It is the sidecar's own answer, which escapes.
  return new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
}

// Make an element like another one. Children with a key keep their element, and with it the focus.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const keyed = new Map([...old.children].filter((each) => each.dataset.key).map((each) => [each.dataset.key, each]));
  const wanted = [...fresh.childNodes];
  let next = old.firstChild;
  for (const child of wanted) {
    const known = keyed.get(child.dataset?.key);
    if (known) {
      if (known === next) next = next.nextSibling;
      else old.insertBefore(known, next);
      become(known, child);
    } else if (next && !next.dataset?.key && !child.dataset?.key) {
      const after = next.nextSibling;
      become(next, child);
      next = after;
    } else {
      old.insertBefore(child, next);
    }
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

const live = document.getElementById("live");
const pause = document.getElementById("pause");
const dialog = document.getElementById("why");
let paused = false;
let number = 0;
let alive = true;

function show(isAlive) {
  live.hidden = false;
  if (isAlive === alive && live.dataset.live) return;
  live.dataset.live ||= live.textContent;
  alive = isAlive;
  live.classList.toggle("lost", !alive);
  live.textContent = alive ? live.dataset.live : live.dataset.lost;
}

// Load the document of an address and take over its live parts. The newest request wins.
async function refresh(address = location.href) {
  const own = ++number;
  try {
    const response = await fetch(address, { cache: "no-store", redirect: "error" });
    if (!response.ok) throw new Error(String(response.status));
    const fresh = parsed(await response.text());
    if (own !== number) return;
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const name = part.dataset.live;
      if (name === "decisions" && paused) continue;
      const old = document.querySelector(`[data-live="${name}"]`);
      if (old) become(old, part);
    }
    show(true);
  } catch {
    if (own === number) show(false);
  }
}

function addressOf(form) {
  const address = new URL(location.href);
  const names = new Set(["from"]);
  for (const field of form.elements) if (field.name) names.add(field.name);
  for (const name of names) address.searchParams.delete(name);
  for (const [name, value] of new FormData(form)) if (value) address.searchParams.set(name, value);
  return address;
}

// What one form has chosen is a hidden field of the other, for browsers without JavaScript.
function remember(address) {
  history.replaceState(null, "", address);
  for (const field of document.querySelectorAll("form.filters input[type=hidden]")) {
    if (field.name !== "lang") field.value = address.searchParams.get(field.name) ?? "";
  }
}

function apply(address) {
  remember(address);
  return refresh();
}

function wireForm(form) {
  let typing = 0;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    apply(addressOf(form));
  });
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => apply(addressOf(form)), TYPING);
  });
}

async function explain(link) {
  const answer = document.getElementById("answer");
  answer.textContent = answer.dataset.wait;
  answer.setAttribute("aria-busy", "true");
  dialog.showModal();
  try {
    const response = await fetch(link.href, { cache: "no-store", redirect: "error" });
    const article = parsed(await response.text()).querySelector("article");
    if (!article) throw new Error(String(response.status));
    answer.replaceChildren(article);
  } catch {
    answer.textContent = live.dataset.lost;
  }
  answer.setAttribute("aria-busy", "false");
}

function wire() {
  for (const form of document.querySelectorAll("form.filters")) wireForm(form);
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target.closest?.("a[data-explain], a[data-page]");
    if (!link) return;
    event.preventDefault();
    if (link.hasAttribute("data-explain")) explain(link);
    else apply(new URL(link.href));
  });
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    [pause.textContent, pause.dataset.resume] = [pause.dataset.resume, pause.textContent];
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setInterval(() => document.hidden || refresh(), INTERVAL);
  show(true);
}

if (live) wire();
