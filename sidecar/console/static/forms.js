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

// Labels are written as `zone=a, gpu=1`.
function labels(text) {
  const pairs = text.split(",").map((each) => each.trim()).filter(Boolean);
  return Object.fromEntries(pairs.map((each) => each.split(/=(.*)/s).slice(0, 2).map((part) => part.trim())));
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
      for (const field of form.querySelectorAll("[data-labels]")) values[field.name] = labels(field.value);
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
