// The cluster: its hosts with their slots and disks, how the chunk store is, and the pools.

import { get, post } from "./api.js";
import { badge, bar, confirm, figure, h, toast } from "./dom.js";
import { byName, bytes, count, duration, percent, plural } from "./format.js";
import { kept, table } from "./tables.js";

const SLOTS_DRAWN = 24;

const AILMENTS = {
  disk_fails: (it) => `disk of ${it.path}: ${it.message}`,
  disk_full: (it) => `${it.path} is full: ${bytes(it.free)} free, ${bytes(it.needed)} needed`,
  low_memory: (it) => `${bytes(it.available)} of memory left, ${bytes(it.needed)} needed`,
  command: (it) => `${it.command}: ${it.message}`,
};
const STRIKES = {
  failures: (it) => `tasks of ${it.job} failed there`,
  output_lost: (it) => `a map output of ${it.job} was lost there`,
  disk_failed: () => "a local disk of it failed",
  silence: () => "its TaskTracker fell silent",
};

/** What somebody should know of a host: long sentences behind a few words. */
function notesCell({ tracker, server }, shown) {
  const said = notes(tracker, server);
  const key = said.join(" · ");
  if (shown?.key === key) return shown;
  const short = tracker?.not_isolated ? "tasks are not isolated" : "";
  const words = said.join(" · ");
  const element = short
    ? h("details", { class: "notes" }, h("summary", {}, [...said.slice(0, -1), short].join(" · ")), said.at(-1))
    : h("span", {}, words);
  return Object.assign(element, { key });
}

function notes(tracker, server) {
  const said = [];
  for (const it of tracker?.ailments ?? []) said.push(AILMENTS[it.ailment]?.(it) ?? it.ailment);
  for (const it of tracker?.disks_without ?? []) said.push(`does without a disk: ${AILMENTS[it.ailment]?.(it) ?? it.ailment}`);
  for (const it of tracker?.strikes ?? []) said.push(STRIKES[it.strike]?.(it) ?? it.strike);
  if (tracker?.set_aside_ms) said.push(`set aside for ${duration(tracker.set_aside_ms)}`);
  if (server?.drain) {
    said.push(server.drain.counted && server.drain.chunks_left === 0
      ? "emptied: its chunkserver can be stopped"
      : `to be emptied: ${plural(server.drain.chunks_left, "chunk")} left`);
  }
  if (server?.orphans) said.push(`${plural(server.orphans, "replica")} that no file refers to`);
  if (tracker?.unreached) said.push(`the JobTracker does not reach it ${tracker.unreached}`);
  if (server?.unreached) said.push(`the chunk master does not reach it ${server.unreached}`);
  if (tracker?.not_isolated) said.push(tracker.not_isolated);
  return said;
}

function serverState(server) {
  if (!server) return null;
  return server.drain ? "DRAINING" : server.liveness.state.toUpperCase();
}

/** Slots as boxes: full ones are taken. */
function slots(element, tracker) {
  const n = tracker?.slots ?? 0;
  const drawn = Math.min(n, SLOTS_DRAWN);
  while (element.boxes.childElementCount > drawn) element.boxes.lastChild.remove();
  while (element.boxes.childElementCount < drawn) element.boxes.append(h("i"));
  [...element.boxes.children].forEach((box, at) => box.classList.toggle("full", at < Math.ceil((tracker.running / n) * drawn)));
  element.text.textContent = tracker ? `${tracker.running}/${n}` : "–";
}

async function act(host, verb, question, detail) {
  if (question && !(await confirm(question, detail, verb[0].toUpperCase() + verb.slice(1)))) return;
  try {
    await post(`/v1/hosts/${encodeURIComponent(host)}/${verb}`);
    toast(`${host}: ${verb} is done`);
  } catch (error) {
    toast(error.message, "bad");
  }
}

function actions(load) {
  return (row, shown) => {
    if (!row.tracker) return "";
    const state = row.tracker.state;
    const verb = state.startsWith("DRAIN") ? "undrain" : state === "SET_ASIDE" ? "forgive" : state === "LOST" ? "" : "drain";
    if (shown?.dataset?.verb === verb) return shown;
    if (!verb) return "";
    const question = verb === "drain" && `Drain ${row.host}?`;
    const detail = "It gets no new tasks. What runs there ends first, and map outputs stay until no job wants them.";
    return h("button", { class: "button small", type: "button", "data-verb": verb,
      on: { click: async () => { await act(row.host, verb, question, detail); load(); } } }, verb);
  };
}

export function open(main, { feed, signal, title, failed }) {
  title("Cluster");
  const figures = {
    slots: figure("Slots in use"), tasks: figure("Tasks"), jobs: figure("Jobs"), locality: figure("Map locality"),
    space: figure("Chunk store"), chunks: figure("Chunks"), health: figure("Replicas"),
  };
  let load = () => {};
  const list = table({
    caption: "Hosts with their TaskTracker and chunkserver",
    columns: [
      { name: "Host", className: "id", cell: (row) => row.host },
      { name: "Rack", className: "wide-only", cell: (row) => row.tracker?.rack ?? row.server?.rack ?? "–" },
      { name: "TaskTracker", cell: (row, shown) => {
        const state = row.tracker?.state ?? "NONE";
        return shown?.dataset?.state === state ? shown : badge(state);
      } },
      { name: "Slots", cell: kept(
        () => {
          const boxes = h("span", { class: "boxes", "aria-hidden": "true" });
          const text = h("span", { class: "num" });
          return Object.assign(h("span", { class: "slots" }, boxes, text), { boxes, text });
        },
        (element, row) => slots(element, row.tracker)) },
      { name: "Map outputs", className: "num wide-only", cell: (row) => count(row.tracker?.map_outputs) },
      { name: "Chunkserver", cell: (row, shown) => {
        const state = serverState(row.server) ?? "NONE";
        return shown?.dataset?.state === state ? shown : badge(state);
      } },
      { name: "Disks", className: "progress", cell: kept(
        () => {
          const line = bar("space used");
          const text = h("span", { class: "num" });
          return Object.assign(h("span", { class: "tasks" }, line, text), { line, text });
        },
        (element, { server }) => {
          const used = server ? server.capacity_bytes - server.free_bytes : 0;
          element.line.set(server?.capacity_bytes ? used / server.capacity_bytes : 0);
          element.line.classList.toggle("high", server?.capacity_bytes > 0 && used / server.capacity_bytes > 0.9);
          element.text.textContent = server ? `${bytes(used)} of ${bytes(server.capacity_bytes)}` : "–";
        }) },
      { name: "Replicas", className: "num", cell: (row) => count(row.server?.replicas) },
      { name: "Notes", className: "grow quiet", cell: notesCell },
      { name: "", label: "Actions", className: "act", cell: actions(() => load()) },
    ],
    key: (row) => row.host, empty: "No host has registered yet.",
  });
  const pools = table({
    caption: "Pools",
    columns: [
      { name: "Pool", className: "id", cell: (pool) => pool.pool },
      { name: "Slots", className: "num", cell: (pool) => count(pool.slots) },
      { name: "Fair share", className: "num", cell: (pool) => count(pool.fair_share) },
      { name: "Minimum", className: "num wide-only", cell: (pool) => count(pool.min_slots) },
      { name: "Maximum", className: "num wide-only", cell: (pool) => (pool.slots_max === null ? "–" : count(pool.slots_max)) },
      { name: "Weight", className: "num wide-only", cell: (pool) => count(pool.weight) },
      { name: "Tasks waiting", className: "num", cell: (pool) => count(pool.waiting) },
      { name: "Jobs", className: "num", cell: (pool) => count(pool.jobs) },
      { name: "", label: "Paused", className: "grow", cell: (pool) => (pool.paused ? badge("PAUSED") : "") },
    ],
    key: (pool) => pool.pool, href: (pool) => `#/jobs?pool=${encodeURIComponent(pool.pool)}`,
  });
  const storeNote = h("p", { class: "quiet", hidden: true });
  main.append(
    h("div", { class: "head" }, h("h1", {}, "Cluster"), h("code", { class: "quiet", id: "cluster-id" })),
    h("dl", { class: "figures" }, Object.values(figures)),
    h("h2", {}, "Hosts"), storeNote, list, h("h2", {}, "Pools"), pools);

  function drawPulse() {
    const it = feed.cluster;
    if (!it) return;
    document.getElementById("cluster-id").textContent = it.cluster;
    const ill = [[it.trackers_ill, "ill"], [it.trackers_set_aside, "set aside"], [it.trackers_drained, "drained"]];
    const told = ill.filter(([n]) => n > 0).map(([n, word]) => `${n} ${word}`);
    figures.slots.set(`${count(it.slots_occupied)} of ${count(it.slots)}`,
      [`${plural(it.trackers, "TaskTracker")}`, ...told].join(", "));
    const running = it.maps_running + it.reduces_running;
    figures.tasks.set(`${count(running)} running`, `${count(it.maps_waiting + it.reduces_waiting)} waiting`);
    figures.jobs.set(count(it.jobs_unfinished), it.jobs_paused ? `${it.jobs_paused} paused` : "unfinished");
    const launched = it.launches_node_local + it.launches_rack_local + it.launches_off_rack;
    figures.locality.set(launched ? percent(it.launches_node_local / launched) : "–",
      launched ? "on a host of their bytes" : "no map launched yet");
  }
  function drawStore(store) {
    const { totals, repairs, safe_mode: safe } = store;
    figures.space.set(`${bytes(totals.free_bytes)} free`,
      `of ${bytes(totals.capacity_bytes)}, ${plural(totals.servers_live, "chunkserver")}${totals.servers_dead ? `, ${totals.servers_dead} dead` : ""}`);
    figures.chunks.set(count(totals.chunks), `${plural(totals.files, "file")}, ${plural(totals.folders, "folder")}`);
    const waiting = repairs.waiting.reduce((sum, it) => sum + it.chunks, 0) + repairs.retrying + repairs.n_running;
    const bad = repairs.chunks_missing > 0;
    figures.health.set(bad ? `${count(repairs.chunks_missing)} missing` : waiting ? `${count(waiting)} in repair` : "all there",
      bad ? "no live server holds these chunks" : repairs.sweeping ? "looking at all chunks" : "");
    figures.health.classList.toggle("bad", bad);
    figures.health.classList.toggle("warn", !bad && waiting > 0);
    storeNote.hidden = !safe;
    if (safe) {
      storeNote.textContent = safe.journal_outdated ??
        `The chunk store is starting: ${plural(safe.awaited.length, "chunkserver")} awaited, for ${safe.seconds_left} s at most.`;
    }
  }
  let trackers = [];
  let servers = [];
  function drawHosts() {
    const rows = new Map();
    for (const tracker of trackers) rows.set(tracker.host, { host: tracker.host, tracker });
    for (const server of servers) rows.set(server.host, { host: server.host, ...rows.get(server.host), server });
    list.update([...rows.values()].sort((a, b) => byName(a.host, b.host)));
  }
  async function loadStore() {
    try {
      const store = await get("/v1/store/report", signal);
      servers = store.servers;
      drawStore(store);
    } catch (error) {
      if (error.name !== "AbortError") figures.space.set("–", error.message);
    }
  }
  load = async () => {
    const hosts = get("/v1/hosts", signal).then((told) => {
      trackers = told.hosts;
      drawHosts();
    });
    await Promise.all([hosts, loadStore().then(drawHosts), get("/v1/pools", signal).then((told) => pools.update(told.pools))]);
  };
  let loading = false;
  let told = false;
  async function again() {
    if (loading) return;
    loading = true;
    try {
      await load();
      told = false;
    } catch (error) {
      if (!told) failed(error);
      told = true;
    }
    loading = false;
  }
  drawPulse();
  again();
  let last = 0;
  feed.on((kind) => {
    if (kind !== "cluster") return;
    drawPulse();
    if (performance.now() - last > 1000) {
      last = performance.now();
      again();
    }
  }, signal);
  const timer = setInterval(again, 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
