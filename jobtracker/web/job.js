// One job: how far it is, when and where its attempts ran, what failed and why, what its reduces read, why it waits.

import { Problem, get, post, query } from "./api.js";
import { columns as drawColumns, phaseLine, phasesOf } from "./charts.js";
import { badge, bar, confirm, figure, h, notice, put, say, toast } from "./dom.js";
import { bytes, count, duration, percent, plural, quantile, time } from "./format.js";
import { tail } from "./log.js";
import { table } from "./tables.js";
import { timeline, words } from "./timeline.js";

const FINAL = ["SUCCEEDED", "FAILED", "KILLED"];
const PRIORITIES = ["very-low", "low", "normal", "high", "very-high"];
const TABS = [["timeline", "Time line"], ["failures", "Failures"], ["partitions", "Partitions"], ["counters", "Counters"],
  ["explain", "Why"], ["attempts", "Attempts"], ["spec", "Job file"]];
const TAIL_BYTES = 4096;
const TAILS_AT_ONCE = 3;
const ROWS_AT_ONCE = 200;
const EXTREMES = 8;

export function open(main, context) {
  const { rest: [id], feed, signal, title, failed } = context;
  let tab = context.rest[1] ?? "timeline";
  title(id);
  let job = null;
  let gone = false;
  const attempts = new Map();
  let since = 0;
  let now = Date.now();

  // The head: what it is called, its state, what can be done with it.
  const name = h("h1", {}, id);
  const state = h("span", {});
  const pause = h("button", { class: "button", type: "button", hidden: true, on: { click: () => act(job.paused ? "resume" : "pause") } });
  const kill = h("button", { class: "button danger", type: "button", hidden: true, on: { click: end } }, "Kill");
  const priority = h("select", { class: "input", "aria-label": "Priority", hidden: true, on: { change: setPriority } });
  const what = h("div", {});
  const figures = { took: figure("Took"), maps: figure("Maps"), reduces: figure("Reduces"), bytes: figure("Input read"),
    locality: figure("Locality"), bad: figure("Attempts failed") };
  const mapBar = bar("maps, by bytes", "big");
  const reduceBar = bar("reduces, by bytes", "big reduce");
  const phases = phaseLine();
  const panel = h("div", { id: "panel", role: "tabpanel", tabindex: -1 });
  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Parts" }, TABS.map(([key, word]) =>
    h("a", { role: "tab", id: `tab-${key}`, href: `#/jobs/${id}/${key}`, "aria-controls": "panel" }, word)));
  main.append(
    h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/jobs" }, "Jobs"), h("span", { class: "mono" }, id)),
    h("div", { class: "head" }, name, state, h("span", { class: "spring" }), priority, pause, kill),
    what, h("dl", { class: "figures" }, Object.values(figures)),
    h("div", { class: "bars" }, h("span", {}, "Maps"), mapBar, h("span", {}, "Reduces"), reduceBar),
    phases, tabs, panel);

  const line = timeline({ pick: (attempt) => (location.hash = `#/jobs/${id}/${attempt.attempt}`) });
  line.set([], now);

  async function act(verb) {
    try {
      take(await post(`/v1/jobs/${id}/${verb}`));
    } catch (error) {
      toast(error.message, "bad");
    }
  }
  async function end() {
    const detail = "What runs of it is ended, and its output never appears. This can't be undone.";
    if (await confirm(`Kill “${job.name}”?`, detail, "Kill")) await act("kill");
  }
  async function setPriority() {
    try {
      take(await post(`/v1/jobs/${id}/priority`, { priority: priority.value }));
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  const isOver = () => job !== null && FINAL.includes(job.state);
  const all = () => [...attempts.values()];

  function take(told) {
    const wasOver = isOver();
    job = told;
    drawHead();
    if (isOver() && !wasOver) {
      // Attempts that were told of before may be others now: all anew.
      since = 0;
      look();
    }
  }

  function drawHead() {
    title(job.name);
    say(name, job.name);
    put(state, badge(job.paused ? "PAUSED" : job.state));
    const over = isOver();
    pause.hidden = kill.hidden = priority.hidden = over;
    say(pause, job.paused ? "Resume" : "Pause");
    if (!priority.options.length) {
      const known = PRIORITIES.includes(job.priority) ? PRIORITIES : [job.priority, ...PRIORITIES];
      put(priority, known.map((it) => h("option", { value: it }, `${it.replace("-", " ")} priority`)));
    }
    if (document.activeElement !== priority) priority.value = job.priority;
    put(what,
      job.failure && notice(job.state === "KILLED" ? "warn" : "bad", job.failure),
      !over && job.waiting && notice("warn", `It waits: ${job.waiting} `, h("a", { href: `#/jobs/${id}/explain` }, "Why?")));
    const took = (job.finished_at ?? Date.now()) - job.submitted_at;
    figures.took.set(duration(took), `submitted ${time(job.submitted_at)}`);
    const tasks = (it) => [`${count(it.succeeded)} of ${count(it.total)}`,
      over ? plural(it.attempts, "attempt") : `${count(it.running)} running, ${count(it.waiting)} waiting`];
    figures.maps.set(...tasks(job.maps));
    figures.reduces.set(...tasks(job.reduces));
    const placed = job.maps.node_local + job.maps.rack_local + job.maps.off_rack;
    figures.locality.set(placed ? percent(job.maps.node_local / placed) : "–",
      placed ? `${count(job.maps.rack_local)} on the rack, ${count(job.maps.off_rack)} elsewhere` : "");
    const bad = job.maps.failed_attempts + job.reduces.failed_attempts;
    const killed = job.maps.killed_attempts + job.reduces.killed_attempts;
    const lost = (job.maps.lost_outputs ?? 0) + (job.reduces.lost_outputs ?? 0);
    figures.bad.set(count(bad), [killed && `${count(killed)} killed`, lost && `${count(lost)} with a lost output`].filter(Boolean).join(", "));
    figures.bad.classList.toggle("bad", bad > 0);
    drawProgress();
  }

  /** By bytes, where they are known: of each map its split, of a running one the part that it has read. */
  function drawProgress() {
    if (!job) return;
    const done = { m: 0, r: 0 };
    const best = new Map();
    for (const it of attempts.values()) {
      const share = it.state === "SUCCEEDED" ? 1 : it.progress ?? 0;
      const task = it.attempt.slice(8, it.attempt.lastIndexOf("_"));
      if (share > (best.get(task)?.share ?? 0)) best.set(task, { share, bytes: it.bytes ?? 0, kind: it.attempt.includes("_m_") ? "m" : "r" });
    }
    let read = 0;
    for (const { share, bytes: n, kind } of best.values()) {
      done[kind] += share;
      if (kind === "m") read += share * n;
    }
    const of = (counts, n) => (counts.total ? Math.max(counts.succeeded, n) / counts.total : 0);
    const mapShare = isOver() && job.state === "SUCCEEDED" ? 1 : job.input_bytes ? Math.min(1, read / job.input_bytes) : of(job.maps, done.m);
    mapBar.set(Math.max(mapShare, 0));
    reduceBar.set(of(job.reduces, done.r));
    figures.bytes.set(bytes(isOver() && job.state === "SUCCEEDED" ? job.input_bytes : read), `of ${bytes(job.input_bytes)}`);
    if (since || job.state === "PREP") phases.set(phasesOf(job, all(), now));
  }

  async function pages(from) {
    let first = 0;
    while (first !== undefined) {
      const page = await get(`/v1/jobs/${id}/timeline${query({ first: first || null, since: from || null })}`, signal);
      for (const it of page.attempts) attempts.set(it.attempt, it);
      now = page.now;
      first = page.next;
    }
  }

  async function loadTimeline() {
    const asked = since;
    if (!asked) attempts.clear();
    await pages(asked);
    // The clock of the end is the JobTracker's: a little of what is known is asked again.
    since = Math.max(1, now - 2000);
    // What ran and is not told of has ended in a way that nothing is kept of.
    line.set(all(), isOver() ? job.finished_at : now);
    drawProgress();
  }

  // The parts.

  const parts = {
    timeline: {
      open: () => {
        put(panel, line);
        line.refresh();
      },
    },
    failures: failures(),
    partitions: partitions(),
    counters: counters(),
    explain: explain(),
    attempts: attemptTable(),
    spec: spec(),
  };

  function failures() {
    const list = h("div", { class: "failures" });
    const shown = new Map();
    async function load() {
      const told = await get(`/v1/jobs/${id}/attempts`, signal);
      const bad = told.attempts.filter((it) => it.state === "FAILED").sort((a, b) => (b.ended_at ?? 0) - (a.ended_at ?? 0));
      if (bad.length === 0) put(list, h("p", { class: "empty" }, "No attempt has failed."));
      else if (shown.size === 0) put(list);
      bad.forEach((it, at) => {
        if (shown.has(it.attempt)) return;
        const text = h("pre", { class: "log short", tabindex: 0, role: "region", "aria-label": `End of the log of ${it.attempt}` }, "…");
        const box = h("details", { class: "failure row", open: at < TAILS_AT_ONCE },
          h("summary", { "data-row": true },
            h("span", { class: "mono" }, it.attempt),
            h("span", { class: "kind" }, it.failure.kind.replaceAll("_", " ")),
            h("span", { class: "quiet" }, `${it.host} · ${time(it.ended_at)}`)),
          h("p", { class: "message", tabindex: 0 }, it.failure.message),
          h("p", { class: "quiet" }, "The end of its log. ", h("a", { href: `#/jobs/${id}/${it.attempt}` }, "All of it")), text);
        let asked = false;
        const show = async () => {
          if (asked || !box.open) return;
          asked = true;
          try {
            say(text, (await tail(id, it.attempt, TAIL_BYTES, signal)) || "It has written nothing.");
          } catch (error) {
            say(text, error.message);
          }
        };
        box.addEventListener("toggle", show);
        show();
        shown.set(it.attempt, box);
        list.insertBefore(box, list.children[at] ?? null);
      });
    }
    return { open: () => put(panel, list), load };
  }

  function partitions() {
    const numbers = h("dl", { class: "figures" });
    const drawing = h("div", {});
    let order = "size";
    const sort = h("select", { class: "input small", "aria-label": "Order", on: { change: () => { order = sort.value; draw(); } } },
      h("option", { value: "size" }, "largest first"), h("option", { value: "number" }, "by number"));
    const heavy = table({
      caption: "The heaviest partitions",
      columns: [
        { name: "Partition", className: "num", cell: (row) => count(row.partition) },
        { name: "Bytes", className: "num", cell: (row) => `${bytes(row.bytes)}${row.estimate ? " (est.)" : ""}` },
        { name: "Of the mean", className: "num", cell: (row) => percent(row.ofMean) },
        { name: "Records", className: "num", cell: (row) => count(row.records) },
        { name: "Worked", className: "num", cell: (row) => duration(row.worked_ms) },
        { name: "Host", className: "grow", cell: (row) => row.host ?? "" },
      ],
      key: (row) => row.partition, empty: "The job has no reduces.",
    });
    let rows = [];
    function draw() {
      const sizes = rows.map((it) => it.bytes).sort((a, b) => a - b);
      const mean = sizes.reduce((sum, it) => sum + it, 0) / (sizes.length || 1);
      const shown = [["Smallest", 0], ["25 %", 0.25], ["Median", 0.5], ["75 %", 0.75], ["Largest", 1]];
      put(numbers, shown.map(([word, share]) => {
        const element = figure(word);
        const value = quantile(sizes, share);
        element.set(bytes(value), mean ? `${percent(value / mean)} of the mean` : "");
        return element;
      }));
      const sorted = order === "size" ? [...rows].sort((a, b) => b.bytes - a.bytes) : rows;
      put(drawing, rows.length > 0 && drawColumns("Bytes of each partition; the line is the mean", sorted));
      const most = [...rows].sort((a, b) => b.bytes - a.bytes).slice(0, EXTREMES);
      heavy.update(most.map((it) => ({ ...it, ofMean: mean ? it.bytes / mean : NaN })));
    }
    async function load() {
      const told = [];
      let first = 0;
      while (first !== undefined) {
        const page = await get(`/v1/jobs/${id}/partitions${query({ first: first || null })}`, signal);
        told.push(...page.partitions);
        first = page.next;
      }
      rows = told;
      draw();
    }
    return { open: () => put(panel, numbers, h("div", { class: "tl-bar" }, h("h2", {}, "Bytes of each partition"), h("span", { class: "spring" }), sort),
      drawing, h("h2", {}, "Heaviest"), heavy), load };
  }

  function counters() {
    const list = h("div", { class: "counters" });
    async function load() {
      const told = (await get(`/v1/jobs/${id}/counters`, signal)).counters;
      const groups = new Map();
      for (const [key, value] of Object.entries(told)) {
        const dot = key.indexOf(".");
        const group = dot < 0 ? "" : key.slice(0, dot);
        if (!groups.has(group)) groups.set(group, []);
        groups.get(group).push([key.slice(dot + 1), value]);
      }
      if (groups.size === 0) put(list, h("p", { class: "empty" }, "Nothing is counted until a task has succeeded."));
      else {
        put(list, [...groups].map(([group, rows]) => h("table", { class: "table" },
          h("caption", {}, group || "counters"),
          h("tbody", {}, rows.map(([key, value]) => h("tr", {}, h("th", { scope: "row" }, key),
            h("td", { class: "num", title: /BYTES/.test(key) ? bytes(value) : undefined }, count(value))))))));
      }
    }
    return { open: () => put(panel, list), load };
  }

  function explain() {
    const list = h("div", { class: "explain" });
    const task = h("input", { class: "input mono", placeholder: `task_${id.slice(4)}_m_000000`, "aria-label": "A task", "data-search": true });
    const form = h("form", { class: "filters", on: { submit: (event) => { event.preventDefault(); load().catch(wrong); } } },
      h("label", {}, "One task: ", task), h("button", { class: "button small" }, "Explain"));
    const wrong = (error) => put(list, notice("bad", error.message));
    async function load() {
      const told = await get(`/v1/jobs/${id}/explain${query({ task: task.value.trim() })}`, signal);
      put(list, told.obstacles.map((it) => notice("warn", obstacle(it))),
        told.unsplit && notice("warn", `${plural(told.unsplit.files, "file")} can't be split, the longest ${told.unsplit.longest} (${bytes(told.unsplit.bytes)}): one map reads it all.`),
        told.tasks.map(ofTask),
        told.tasks.length === 0 && told.obstacles.length === 0 && h("p", { class: "quiet" }, "No task of it waits for a slot."),
        told.path.length > 0 && h("h2", {}, "What made it as long as it is"),
        told.path.length > 0 && h("ol", { class: "path" }, told.path.map((it) => h("li", {},
          h("a", { class: "mono", href: `#/jobs/${id}/${it.attempt}` }, it.attempt),
          ` on ${it.host}, ${it.ended_at ? `took ${duration(it.ended_at - it.began_at)}` : "runs"}, after ${AFTER[it.after] ?? it.after}`))));
    }
    return { open: () => put(panel, form, list), load };
  }

  function attemptTable() {
    const search = h("input", { class: "input", type: "search", placeholder: "attempt, host or state", "aria-label": "Search attempts",
      "data-search": true, on: { input: draw } });
    const note = h("span", { class: "quiet" });
    const more = h("button", { class: "button small", type: "button", hidden: true, on: { click: () => { rows += 1000; draw(); } } }, "More rows");
    let rows = ROWS_AT_ONCE;
    const list = table({
      caption: "Attempts",
      columns: [
        { name: "Attempt", className: "id", cell: (it, shown) => shown ?? h("a", { href: `#/jobs/${id}/${it.attempt}`, tabindex: -1 }, it.attempt) },
        { name: "State", cell: (it, shown) => (shown?.dataset?.state === it.state ? shown : badge(it.state)) },
        { name: "Host", cell: (it) => it.host },
        { name: "Locality", className: "wide-only", cell: (it) => it.place?.replace("_", "-") ?? "" },
        { name: "Began", className: "when", cell: (it) => time(it.began_at) },
        { name: "Took", className: "num", cell: (it) => (it.began_at ? duration((it.ended_at ?? now) - it.began_at) : "–") },
        { name: "Read", className: "num", cell: (it) => bytes(it.bytes) },
        { name: "", label: "Notes", className: "grow quiet", cell: (it) => it.failure?.replaceAll("_", " ") ?? (it.backup ? "backup" : it.progress !== undefined ? percent(it.progress) : "") },
      ],
      key: (it) => it.attempt, href: (it) => `#/jobs/${id}/${it.attempt}`, empty: "No attempt yet.",
    });
    function draw() {
      const text = search.value.trim().toLowerCase();
      const fits = all().filter((it) => !text || words(it).toLowerCase().includes(text) || it.attempt.includes(text));
      say(note, fits.length > rows ? `${count(rows)} of ${count(fits.length)}` : plural(fits.length, "attempt"));
      more.hidden = fits.length <= rows;
      list.update(fits.slice(0, rows));
    }
    return { open: () => put(panel, h("div", { class: "filters" }, search, note), list, more), draw };
  }

  function spec() {
    const text = h("pre", { class: "log spec", tabindex: 0, role: "region", "aria-label": "Job file" });
    async function load() {
      try {
        const kept = await get(`/v1/history/${id}`, signal);
        say(text, yaml(kept.spec));
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        // It is written a moment after the job's end.
        if (isOver() && error.status === 404) setTimeout(() => tab === "spec" && !signal.aborted && load(), 2000);
        say(text, isOver() ? error.message : "It is kept with the job's history, which is written when the job has ended.");
      }
    }
    return { open: () => put(panel, h("p", { class: "quiet" }, "The job as it was submitted."), text,
      h("p", {}, h("a", { class: "button", href: `#/submit?from=${id}` }, "Submit one like it"))), load };
  }

  // What is asked when.

  let busy = false;
  let again = false;
  async function look() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      job ??= await get(`/v1/jobs/${id}`, signal);
      drawHead();
      await loadTimeline();
      await parts[tab]?.load?.();
      parts[tab]?.draw?.();
    } catch (error) {
      if (error.status === 404) gone = true;
      if (error.name !== "AbortError" && !document.querySelector("main > .notice.bad")) failed(error);
    }
    busy = false;
    if (again && !signal.aborted) {
      again = false;
      look();
    }
  }

  function show() {
    if (!parts[tab]) tab = "timeline";
    for (const [key] of TABS) {
      const link = document.getElementById(`tab-${key}`);
      link.setAttribute("aria-selected", key === tab);
      link.tabIndex = key === tab ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${tab}`);
    parts[tab].open();
    parts[tab].draw?.();
    parts[tab].load?.().catch(failed);
  }
  tabs.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const keys = TABS.map(([key]) => key);
    const next = keys[(keys.indexOf(tab) + by + keys.length) % keys.length];
    location.hash = `#/jobs/${id}/${next}`;
    document.getElementById(`tab-${next}`).focus();
  });

  feed.on((kind, told) => {
    if (kind === "job" && told.id === id) {
      take(told);
      look();
    }
  }, signal);
  addEventListener("colours", () => line.refresh(), { signal });
  const timer = setInterval(() => {
    if (gone || document.hidden || isOver()) return;
    if (job) drawHead();
    look();
  }, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  show();
  look();
  return (rest) => {
    if (rest[0] !== id) return false;
    tab = rest[1] ?? "timeline";
    show();
    return true;
  };
}

// Words for what the scheduler says.

const AFTER = { submission: "the submission", slot: "the slot was free", maps: "the last map", other_try: "another try of its task failed" };
const OBSTACLES = {
  not_planned: () => "The job's splits are not known yet: its input is being looked at.",
  store: (it) => `${it.why[0].toUpperCase()}${it.why.slice(1)}.`,
  no_staging: () => "The job's staging folder is being made.",
  splits_not_read: () => "The job's list of splits is read again, since the JobTracker has restarted.",
  publishing: () => "All tasks of the job are done, and its output is being published.",
  paused: () => "The job, or its pool, is paused.",
  jobtracker_starts: (it) => `The JobTracker has just started: TaskTrackers may still tell what runs, for ${duration(it.for_ms)} yet.`,
  no_trackers: () => "No TaskTracker is registered.",
  pool: (it) => it.why,
  others_first: (it) => `${plural(it.jobs, "other job")} that wants slots comes first.`,
  maps_not_done: (it) => `Reduces begin when ${count(it.needed)} maps are done; ${count(it.done)} are.`,
  maps_go_first: () => "Reduces hold all slots but one, and that one is left to maps, which wait.",
};
const WHY = {
  nothing_in_the_way: "nothing is in the way", not_asking: "the TaskTracker asks for no work", no_free_slot: "all slots are taken", too_far: "too far from the task's input, as yet",
  failed_there: "an attempt of the task failed, or was killed, there", left_alone: "the job leaves this host alone for a while: its tasks failed there", closed: "gets no new attempts",
};
const LIMITS = { node_local: "on a host of its input", rack_local: "in a rack of its input", off_rack: "anywhere" };

const obstacle = (it) => OBSTACLES[it.obstacle]?.(it) ?? it.obstacle;

function ofTask(task) {
  const lines = task.obstacles.map(obstacle);
  if (task.homes.length) lines.push(`The task's input is on ${task.homes.join(", ")}.`);
  if (task.input) {
    const place = task.input.host ? `host ${task.input.host}` : `rack ${task.input.rack}`;
    lines.push(`${place} holds ${percent(task.input.share)} of the task's input, ${bytes(task.input.bytes)}.`);
  }
  if (task.waits && task.limit) {
    lines.push(`The task may run ${LIMITS[task.limit]} now${task.farther_in_ms === null ? "" : `, and farther away in ${duration(task.farther_in_ms)}`}.`);
  }
  for (const it of task.hosts) {
    const named = it.hosts.join(", ") + (it.hosts.length < it.n_hosts ? ` and ${count(it.n_hosts - it.hosts.length)} more` : "");
    lines.push(`On ${named}: ${WHY[it.why] ?? it.why}.`);
  }
  for (const it of task.attempts) {
    lines.push(`${it.attempt} ${it.state.toLowerCase()} on ${it.host}${it.failure ? `: ${it.failure.message}` : ""}`);
  }
  return h("section", { class: "task" }, h("h3", { class: "mono" }, task.task, task.waits ? " waits for a slot" : ""),
    h("ul", {}, lines.map((it) => h("li", {}, it))));
}

/** Plain data as YAML: block form, texts quoted where they must be. */
export function yaml(value, indent = "") {
  const scalar = (it) => {
    if (typeof it !== "string") return String(it);
    const plain = /^[A-Za-z_/][\w ./@*-]*$/.test(it) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(it) && !it.endsWith(" ");
    return plain ? it : JSON.stringify(it);
  };
  const nested = (it) => it !== null && typeof it === "object";
  const lines = Array.isArray(value)
    ? value.map((it) => (nested(it) ? `${indent}- ${yaml(it, `${indent}  `).trimStart()}` : `${indent}- ${scalar(it)}`))
    : Object.entries(value).filter(([, it]) => it !== null && it !== undefined).map(([key, it]) => {
      if (!nested(it)) return `${indent}${key}: ${scalar(it)}`;
      if (Object.keys(it).length === 0) return `${indent}${key}: ${Array.isArray(it) ? "[]" : "{}"}`;
      return `${indent}${key}:\n${yaml(it, `${indent}  `)}`;
    });
  return lines.join("\n");
}
