// Small helpers; text from the server is only ever set as text.

const words = document.getElementById("words").dataset;

export function word(name) {
  return words[name];
}

export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

export function fill(element, selector, text) {
  const target = element.querySelector(selector);
  target.textContent = text ?? "";
  return target;
}

// Read aloud by a screen reader.
export function announce(text) {
  document.getElementById("announce").textContent = text;
}

export function remember(name, value) {
  document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Strict`;
}

// A request to the console, in the page's language; a denial's text comes in it too.
export function send(path, options = {}) {
  const headers = { "Accept-Language": document.documentElement.lang, ...options.headers };
  return fetch(path, { cache: "no-store", redirect: "error", ...options, headers });
}

export function sendJson(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  return send(path, { method, headers, body: JSON.stringify(body) });
}

export async function problemOf(response) {
  try {
    const body = await response.json();
    return { message: body.message ?? body.error, reason: body.reason ?? body.code, decision: body.decision_id };
  } catch {
    return { message: `HTTP ${response.status}`, reason: "" };
  }
}
