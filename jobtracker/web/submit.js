// A job file, as `howdah job submit` takes it: checked by the JobTracker itself, then submitted.

import { get, query, request } from "./api.js";
import { h, notice, put } from "./dom.js";
import { yaml } from "./job.js";

const KEY = "howdah.draft";
const YAML = { "Content-Type": "application/yaml" };
const EXAMPLES = {
  "Word count": `name: word count
input: [/in]
output: /out
program:
  builtin: {name: wordcount}
reduces: 4
`,
  "Commands (streaming)": `name: errors by hour
input: [/logs]
output: /errors
program:
  streaming:
    mapper: sh -c 'grep ERROR | cut -c1-13'
    reducer: uniq -c
reduces: 1
`,
};

export function open(main, { parameters, signal, title, failed }) {
  title("Submit");
  const text = h("textarea", { class: "editor", spellcheck: false, rows: 22, "aria-label": "Job file", autocomplete: "off",
    "data-search": true, value: sessionStorage.getItem(KEY) ?? EXAMPLES["Word count"] });
  const numbers = h("pre", { class: "line-numbers", "aria-hidden": "true" });
  const said = h("div", { "aria-live": "polite" });
  const check = h("button", { class: "button", type: "button", on: { click: () => send(true) } }, "Check");
  const submit = h("button", { class: "button primary", type: "submit" }, "Submit");
  const example = h("select", { class: "input", "aria-label": "Begin with an example", on: { change: () => {
    if (EXAMPLES[example.value]) text.value = EXAMPLES[example.value];
    example.value = "";
    edited();
  } } }, h("option", { value: "" }, "Examples"), Object.keys(EXAMPLES).map((it) => h("option", {}, it)));
  const form = h("form", { on: { submit: (event) => { event.preventDefault(); send(false); } } },
    h("div", { class: "editor-wrap" }, numbers, text),
    said,
    h("div", { class: "filters" }, submit, check, h("span", { class: "spring" }), example));
  main.append(
    h("div", { class: "head" }, h("h1", {}, "Submit a job")),
    h("p", { class: "quiet" }, "A job file, as howdah job submit takes it. Paths are the chunk store's, and the output must not exist. ",
      "A program of your own is shipped by the command line: here it must be in the chunk store already."),
    form);

  let wrongLine = 0;
  // What a key makes safe to repeat is one text: another text is another job.
  let key = null;
  function edited() {
    sessionStorage.setItem(KEY, text.value);
    wrongLine = 0;
    key = null;
    put(said);
    drawNumbers();
  }
  function drawNumbers() {
    const lines = text.value.split("\n").length;
    put(numbers, Array.from({ length: lines }, (_, at) =>
      h("span", { class: at + 1 === wrongLine ? "wrong" : undefined }, `${at + 1}\n`)));
    numbers.scrollTop = text.scrollTop;
  }
  text.addEventListener("input", edited);
  text.addEventListener("scroll", () => (numbers.scrollTop = text.scrollTop));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send(false);
    }
  });

  async function send(only) {
    submit.disabled = check.disabled = true;
    key ??= [...crypto.getRandomValues(new Uint8Array(16))].map((it) => it.toString(16).padStart(2, "0")).join("");
    try {
      const headers = only ? YAML : { ...YAML, "Idempotency-Key": `page-${key}` };
      const response = await request(`/v1/jobs${query({ check: only || null })}`, { method: "POST", headers, body: text.value });
      const told = await response.json();
      if (only) {
        put(said, notice("good", "It can be submitted: its inputs are there, its output is not."));
      } else {
        sessionStorage.removeItem(KEY);
        location.hash = `#/jobs/${told.id}`;
      }
    } catch (error) {
      put(said, notice("bad", error.message));
      wrongLine = Number(/line (\d+)/.exec(error.message)?.[1] ?? 0);
      drawNumbers();
      if (wrongLine) {
        const begin = text.value.split("\n").slice(0, wrongLine - 1).join("\n").length + (wrongLine > 1 ? 1 : 0);
        const end = text.value.indexOf("\n", begin);
        text.focus();
        text.setSelectionRange(begin, end < 0 ? text.value.length : end);
      }
    }
    submit.disabled = check.disabled = false;
  }

  async function like(job) {
    const kept = await get(`/v1/history/${job}`, signal);
    text.value = `${yaml(kept.spec)}\n`;
    edited();
  }
  drawNumbers();
  if (parameters.get("from")) like(parameters.get("from")).catch(failed);
}
