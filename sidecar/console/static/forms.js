// Forms that change something: asked once more, sent as JSON, and the result is announced.

import { announce, fill, fromTemplate, problemOf, sendJson, word } from "./dom.js";

function confirmed(text) {
  const dialog = fromTemplate("confirmation");
  fill(dialog, "[data-message]", text);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

export function wireForms(root, reload) {
  for (const form of root.querySelectorAll("form[data-method]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      if (form.dataset.confirm && !(await confirmed(form.dataset.confirm))) {
        button.focus();
        return;
      }
      button.disabled = true;
      const values = Object.fromEntries(new FormData(form));
      const said = form.querySelector("[data-said]");
      try {
        const response = await sendJson(form.dataset.method, form.dataset.action, values);
        const text = response.ok ? word("done") : (await problemOf(response)).message;
        if (response.ok) await reload();
        else said.textContent = text;
        announce(text);
      } catch (error) {
        said.textContent = error.message;
      } finally {
        button.disabled = false;
      }
    });
  }
}
