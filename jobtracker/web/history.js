// Jobs that are over, as the chunk store keeps them: also those that the JobTracker has forgotten.

import { get, query } from "./api.js";
import { h } from "./dom.js";
import { count, duration, time } from "./format.js";
import { stateCell, tasksCell, tookOf } from "./jobs.js";
import { table } from "./tables.js";

const LIMIT = 100;

export function open(main, { parameters, signal, title, failed }) {
  title("History");
  const limit = Number(parameters.get("limit")) || LIMIT;
  const search = h("input", { class: "input", type: "search", placeholder: "name, id or state", "aria-label": "Search",
    "data-search": true, on: { input: draw } });
  const list = table({
    caption: "Jobs that are over, those that ended last first",
    columns: [
      { name: "Job", className: "id", cell: (job, shown) => shown ?? h("a", { href: `#/jobs/${job.id}`, tabindex: -1 }, job.id) },
      { name: "Name", className: "grow", cell: (job) => job.name },
      { name: "State", cell: stateCell },
      { name: "Maps", className: "progress", cell: tasksCell("maps", (job) => job.maps) },
      { name: "Reduces", className: "progress", cell: tasksCell("reduces", (job) => job.reduces) },
      { name: "Failed", className: "num", title: "Attempts that failed",
        cell: (job) => count(job.maps.failed_attempts + job.reduces.failed_attempts) },
      { name: "Ended", className: "when", cell: (job) => time(job.finished_at) },
      { name: "Took", className: "num", cell: (job) => duration(tookOf(job)) },
    ],
    key: (job) => job.id, href: (job) => `#/jobs/${job.id}`,
    empty: "Nothing is kept yet. A job's history is written when it has ended, and kept for jobtracker.history_keep.",
  });
  const more = h("a", { class: "button", href: `#/history${query({ limit: Math.min(1000, limit * 5) })}`, hidden: true }, "More");
  main.append(
    h("div", { class: "head" }, h("h1", {}, "History"), h("div", { class: "filters" }, search)),
    list, h("div", { class: "pager" }, more));
  let jobs = [];
  function draw() {
    const text = search.value.trim().toLowerCase();
    const fits = (job) => [job.name, job.id, job.state].some((it) => it.toLowerCase().includes(text));
    list.update(jobs.filter(fits));
  }
  async function load() {
    ({ jobs } = await get(`/v1/history${query({ limit })}`, signal));
    more.hidden = jobs.length < limit || limit >= 1000;
    draw();
  }
  load().catch(failed);
}
