// The jobs that the JobTracker knows: those that go on, and the last ones that ended. Newest first, live.

import { get, query } from "./api.js";
import { badge, bar, h } from "./dom.js";
import { ago, count, duration } from "./format.js";
import { kept, table } from "./tables.js";

const PAGE = 50;
const STATES = ["PREP", "RUNNING", "SUCCEEDED", "FAILED", "KILLED"];

export const tookOf = (job) => (job.finished_at ?? Date.now()) - job.submitted_at;

/** Tasks of one kind as a bar and numbers. */
export function tasksCell(kind, of) {
  return kept(
    () => {
      const line = bar(kind);
      const text = h("span", { class: "num" });
      return Object.assign(h("span", { class: "tasks" }, line, text), { line, text });
    },
    (element, job) => {
      const counts = of(job);
      element.hidden = counts.total === 0;
      element.line.set(counts.total ? counts.succeeded / counts.total : 0);
      element.text.textContent = `${count(counts.succeeded)}/${count(counts.total)}`;
    },
  );
}

export function stateCell(job, shown) {
  const word = job.paused ? "PAUSED" : job.state;
  return shown?.dataset.state === word ? shown : badge(word);
}

export const columns = [
  { name: "Job", className: "id", cell: (job, shown) => shown ?? h("a", { href: `#/jobs/${job.id}`, tabindex: -1 }, job.id) },
  { name: "Name", className: "grow", cell: (job) => job.name },
  { name: "State", cell: stateCell },
  { name: "Pool", className: "wide-only", cell: (job) => job.pool },
  { name: "Priority", className: "wide-only", cell: (job) => job.priority },
  { name: "Maps", className: "progress", cell: tasksCell("maps", (job) => job.maps) },
  { name: "Reduces", className: "progress", cell: tasksCell("reduces", (job) => job.reduces) },
  { name: "Submitted", className: "when", cell: (job) => ago(job.submitted_at) },
  { name: "Took", className: "num", cell: (job) => duration(tookOf(job)) },
];

export function open(main, { feed, parameters, signal, title, failed }) {
  title("Jobs");
  const chosen = { state: parameters.get("state") ?? "", pool: parameters.get("pool") ?? "", before: parameters.get("before") };
  const go = (change) => (location.hash = `#/jobs${query({ ...chosen, before: null, ...change })}`);
  const state = h("select", { class: "input", "aria-label": "State", on: { change: () => go({ state: state.value }) } },
    h("option", { value: "" }, "all states"),
    STATES.map((word) => h("option", { value: word }, word.toLowerCase())));
  state.value = chosen.state;
  const pool = h("select", { class: "input", "aria-label": "Pool", on: { change: () => go({ pool: pool.value }) } },
    h("option", { value: "" }, "all pools"));
  const search = h("input", { class: "input", type: "search", placeholder: "name or id", "aria-label": "Search by name or id",
    "data-search": true, on: { input: draw } });
  const list = table({
    caption: "Jobs, newest first", columns, key: (job) => job.id, href: (job) => `#/jobs/${job.id}`,
    empty: "No jobs here. One can be submitted on the page “Submit”, or by howdah job submit.",
  });
  const older = h("a", { class: "button", hidden: true }, "Older");
  const newest = h("a", { class: "button", href: `#/jobs${query({ ...chosen, before: null })}`, hidden: !chosen.before }, "Newest");
  main.append(
    h("div", { class: "head" }, h("h1", {}, "Jobs"), h("div", { class: "filters" }, state, pool, search)),
    list, h("div", { class: "pager" }, newest, older));

  let jobs = [];
  function draw() {
    const text = search.value.trim().toLowerCase();
    list.update(jobs.filter((job) => !text || job.name.toLowerCase().includes(text) || job.id.includes(text)));
  }
  function fits(job) {
    return (!chosen.state || job.state === chosen.state) && (!chosen.pool || job.pool === chosen.pool);
  }
  function take(told) {
    const at = jobs.findIndex((job) => job.id === told.id);
    if (at >= 0) jobs[at] = told;
    else if (!chosen.before && fits(told)) {
      jobs = [...jobs, told].sort((a, b) => b.submitted_at - a.submitted_at || (a.id < b.id ? 1 : -1)).slice(0, PAGE);
    }
    jobs = jobs.filter(fits);
  }
  async function load() {
    const page = await get(`/v1/jobs${query({ limit: PAGE, ...chosen })}`, signal);
    jobs = page.jobs;
    older.hidden = jobs.length < PAGE;
    if (jobs.length) older.setAttribute("href", `#/jobs${query({ ...chosen, before: jobs.at(-1).id })}`);
    draw();
  }
  async function loadPools() {
    const { pools } = await get("/v1/pools", signal);
    pool.append(...pools.map((it) => h("option", { value: it.pool }, it.pool)));
    pool.value = chosen.pool;
  }
  let due = false;
  feed.on((kind, job) => {
    if (kind !== "job") return;
    take(job);
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      draw();
    });
  }, signal);
  load().catch(failed);
  loadPools().catch(failed);
  const timer = setInterval(draw, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
