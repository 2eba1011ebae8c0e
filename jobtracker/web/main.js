// The page as a whole: which part of it is open, what the JobTracker tells of by itself, keys, colours, the token.

import { listen, onTokenNeeded } from "./api.js";
import { h, notice, put, say } from "./dom.js";
import { move } from "./tables.js";
import * as cluster from "./cluster.js";
import * as files from "./files.js";
import * as history from "./history.js";
import * as job from "./job.js";
import * as jobs from "./jobs.js";
import * as log from "./log.js";
import * as submit from "./submit.js";

const PAGES = { cluster, jobs, job, log, history, files, submit };
/** Which entry of the menu a page belongs to. */
const MENU = { job: "jobs", log: "jobs" };

// What the JobTracker tells by itself.

const listeners = new Set();
const feed = {
  cluster: null,
  jobs: new Map(),
  /** Calls `changed` after each event, until the page closes. */
  on(changed, signal) {
    listeners.add(changed);
    signal.addEventListener("abort", () => listeners.delete(changed));
  },
};
let listening = null;
let heard = undefined;

/** Listens to one job, or to all of the newest. */
function hear(only) {
  if (listening && heard === only) return;
  listening?.abort();
  listening = new AbortController();
  heard = only;
  const live = document.getElementById("live");
  listen({
    job: only,
    signal: listening.signal,
    state(state) {
      live.dataset.state = state;
      say(live, state === "live" ? "live" : "reconnecting");
    },
    tell(kind, data) {
      if (kind === "cluster") feed.cluster = data;
      if (kind === "job") feed.jobs.set(data.id, data);
      for (const changed of listeners) changed(kind, data);
    },
  });
}

// Which part of the page is open: `#/name/rest?key=value`.

let open = null;

function show() {
  const [path, search = ""] = (location.hash.slice(2) || "cluster").split("?");
  const [name, ...rest] = path.split("/");
  let page = name;
  if (name === "jobs" && rest[0]) page = rest[1]?.startsWith("attempt_") ? "log" : "job";
  const module = PAGES[page] ?? PAGES.cluster;
  const parameters = new URLSearchParams(search);
  if (open && open.page === page && open.again?.(rest, parameters)) return;
  open?.close.abort();
  const main = document.getElementById("main");
  const close = new AbortController();
  open = { page, close };
  for (const link of document.querySelectorAll("nav a")) {
    const is = link.getAttribute("href") === `#/${MENU[page] ?? page}`;
    if (is) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  put(main);
  hear(page === "job" || page === "log" ? rest[0] : undefined);
  const context = {
    rest, parameters, feed, signal: close.signal,
    title: (text) => (document.title = `${text} · Howdah`),
    /** Tells a failure where the page would be. */
    failed(error) {
      if (error.name !== "AbortError" && !close.signal.aborted) main.prepend(notice("bad", error.message));
    },
  };
  open.again = module.open(main, context);
  scrollTo(0, 0);
}

// The token, where one is needed.

onTokenNeeded((why) => new Promise((resolve) => {
  const input = h("input", { type: "password", class: "input wide", autocomplete: "off", spellcheck: "false",
    required: true, "aria-label": "Token", placeholder: "token" });
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "token-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "token-title" }, "This cluster asks for a token"),
      h("p", { class: "quiet" }, why),
      h("p", {}, "On a host with the configuration: ", h("code", {}, "howdah token --user NAME --for 12h")),
      input,
      h("p", { class: "quiet" }, "It is kept in this tab, and forgotten when you close it."),
      h("div", { class: "actions" },
        h("button", { value: "no", class: "button", formnovalidate: true }, "Cancel"),
        h("button", { value: "yes", class: "button primary" }, "Use it"))));
  dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes" ? input.value.trim() : null);
  });
  document.body.append(dialog);
  dialog.returnValue = "no";
  dialog.showModal();
  // Enter sends the form by its first button, which would be the wrong one.
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value) {
      event.preventDefault();
      dialog.close("yes");
    }
  });
  input.focus();
}));

// Colours.

const THEMES = { system: ["◐", "as the system"], light: ["○", "light"], dark: ["●", "dark"] };
const themeButton = document.getElementById("theme");

function setTheme(theme) {
  if (theme === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("howdah.theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("howdah.theme", theme);
  }
  const [sign, name] = THEMES[theme];
  say(themeButton, sign);
  themeButton.setAttribute("aria-label", `Colours: ${name}`);
  themeButton.dataset.is = theme;
  dispatchEvent(new Event("colours"));
}

function nextTheme() {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(themeButton.dataset.is) + 1) % names.length]);
}
themeButton.addEventListener("click", nextTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("colours")));
const remembered = localStorage.getItem("howdah.theme");
setTheme(remembered in THEMES ? remembered : "system");

// Keys.

const KEYS = [
  ["j / k", "next, previous row"],
  ["Enter", "open the row"],
  ["/", "search this page"],
  ["g then c, j, h, f, s", "cluster, jobs, history, files, submit"],
  ["t", "colours"],
  ["Esc", "close, or leave a field"],
  ["?", "this help"],
];

function help() {
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "help-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "help-title" }, "Keys"),
      h("dl", { class: "keys" }, KEYS.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
      h("p", { class: "quiet" }, "All of this is also told by REST: see docs/rest.md."),
      h("div", { class: "actions" }, h("button", { class: "button primary" }, "Close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
document.getElementById("help").addEventListener("click", help);

let went = 0;
const GO = { c: "cluster", j: "jobs", h: "history", f: "files", s: "submit" };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const field = event.target.closest("input, textarea, select");
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  const after = went && event.timeStamp - went < 1500;
  went = 0;
  if (after && GO[event.key]) location.hash = `#/${GO[event.key]}`;
  else if (event.key === "g") went = event.timeStamp;
  else if (event.key === "j" || event.key === "ArrowDown" && event.target.closest("[data-row]")) move(1) && event.preventDefault();
  else if (event.key === "k" || event.key === "ArrowUp" && event.target.closest("[data-row]")) move(-1) && event.preventDefault();
  else if (event.key === "t") nextTheme();
  else if (event.key === "?") help();
  else if (event.key === "/") {
    const search = document.querySelector("main [data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});

addEventListener("hashchange", show);
show();
