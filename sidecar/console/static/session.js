// Signing in and out. The cookie is HttpOnly: scripts never see the token.

import { fill, fromTemplate, problemOf, sendJson } from "./dom.js";

export function signInForm(why, then) {
  const form = fromTemplate("signing-in");
  if (why) fill(form, "[data-about]", why);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const { username, password } = form.elements;
      const response = await sendJson("POST", "/session", { username: username.value, password: password.value });
      if (response.ok) {
        then();
        return;
      }
      fill(form, ".error", (await problemOf(response)).message);
    } catch (error) {
      fill(form, ".error", error.message);
    } finally {
      button.disabled = false;
    }
    form.elements.password.select();
  });
  return form;
}

export async function signOut() {
  await sendJson("DELETE", "/session", {});
  location.assign("/");
}
