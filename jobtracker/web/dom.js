// Elements made of plain data. Text is only ever put in as text: whatever a job or a file is called, it stays a name.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(4).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An element with these attributes (`on` holds listeners) and children: elements, or texts. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same of SVG. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Puts these children in place of all others. */
export function put(element, ...children) {
  element.replaceChildren();
  fill(element, {}, children);
}

/** Sets a text only if it is another: what is unchanged is neither drawn nor read out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A bar, from 0 to 1, with what it means for those who don't see it. */
export function bar(label, className = "") {
  const value = h("span", { class: "bar-value" });
  const element = h("span", { class: `bar ${className}`, role: "progressbar", "aria-label": label,
    "aria-valuemin": 0, "aria-valuemax": 100 }, value);
  element.set = (share) => {
    const percent = Math.max(0, Math.min(1, share || 0)) * 100;
    value.style.width = `${percent}%`;
    element.setAttribute("aria-valuenow", Math.round(percent));
    return element;
  };
  return element;
}

/** A state as a small word with a colour. */
export function badge(state) {
  const word = String(state ?? "").toLowerCase().replaceAll("_", " ");
  return h("span", { class: "badge", "data-state": String(state ?? "").toUpperCase() }, word);
}

/** A number with its name, as they stand side by side at the head of a page. */
export function figure(name) {
  const value = h("dd", {}, "–");
  const note = h("dd", { class: "note" });
  const element = h("div", { class: "figure" }, h("dt", {}, name), value, note);
  element.set = (text, more = "") => {
    say(value, text);
    say(note, more);
  };
  element.value = value;
  return element;
}

/** A sentence that somebody should read. */
export function notice(kind, ...children) {
  const element = h("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, ...children);
  // A long one scrolls, for which it must take the focus.
  if (element.textContent.length > 300) element.tabIndex = 0;
  return element;
}

/** Asks before something is ended. Resolves to whether it may. */
export function confirm(question, detail, verb) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "confirm-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "confirm-title" }, question),
        h("p", {}, detail),
        h("div", { class: "actions" },
          h("button", { value: "no", class: "button" }, "Cancel"),
          h("button", { value: "yes", class: "button danger" }, verb))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A short word at the edge of the page, read out too. */
export function toast(text, kind = "") {
  const element = h("div", { class: `toast ${kind}`, role: "status" }, text);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), kind === "bad" ? 9000 : 4000);
}
