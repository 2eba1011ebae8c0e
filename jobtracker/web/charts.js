// Small drawings: the phases of a job as one line, the partitions of its reduces as columns.

import { h, put, svg } from "./dom.js";
import { bytes, duration, percent } from "./format.js";

const PHASES = [["queue", "Queue"], ["map", "Maps"], ["reduce", "Reduces"], ["commit", "Commit"]];

/** How long a job was in each phase, by when its attempts ran: queue, maps, reduces (from the last map on), commit. */
export function phasesOf(job, attempts, now) {
  const end = job.finished_at ?? now;
  let begin = Infinity;
  let mapsDone = -Infinity;
  let done = -Infinity;
  for (const it of attempts) {
    if (it.began_at && it.began_at < begin) begin = it.began_at;
    if (it.state !== "SUCCEEDED" || !it.ended_at) continue;
    if (it.attempt.includes("_m_")) mapsDone = Math.max(mapsDone, it.ended_at);
    done = Math.max(done, it.ended_at);
  }
  const allMaps = job.maps.total > 0 && job.maps.succeeded === job.maps.total;
  const all = allMaps && job.reduces.succeeded === job.reduces.total;
  const began = Math.min(begin, end);
  const mapEnd = allMaps && Number.isFinite(mapsDone) ? Math.max(began, mapsDone) : end;
  const workEnd = all && Number.isFinite(done) ? Math.max(mapEnd, done) : end;
  return { queue: began - job.submitted_at, map: mapEnd - began, reduce: workEnd - mapEnd, commit: Math.max(0, end - workEnd) };
}

/** The phases as one line. */
export function phaseLine() {
  const line = h("div", { class: "phases", role: "img", "aria-label": "Phases: not known yet" });
  const names = h("div", { class: "phase-names" });
  const element = h("div", {}, line, names);
  const parts = PHASES.map(([name]) => h("span", { class: `phase ${name}` }));
  put(line, parts);
  const texts = PHASES.map(([name]) => h("span", { class: "num" }));
  put(names, PHASES.map(([name, word], at) =>
    h("span", { class: "key" }, h("i", { class: `swatch phase ${name}` }), `${word} `, texts[at])));
  element.set = (phases) => {
    const all = PHASES.reduce((sum, [name]) => sum + Math.max(0, phases[name]), 0) || 1;
    PHASES.forEach(([name], at) => {
      parts[at].style.flexGrow = Math.max(0, phases[name]) / all;
      texts[at].textContent = duration(phases[name]);
    });
    line.setAttribute("aria-label", PHASES.map(([name, word]) => `${word} ${duration(phases[name])}`).join(", "));
  };
  return element;
}

const WIDTH = 1000;
const HEIGHT = 160;

/** Columns of numbers, so many that each is at least two wide: of more than that, the largest of several. */
export function columns(label, rows) {
  const n = Math.min(rows.length, WIDTH / 2);
  const most = rows.reduce((max, row) => Math.max(max, row.bytes), 1);
  const mean = rows.reduce((sum, row) => sum + row.bytes, 0) / (rows.length || 1);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "columns", role: "img", "aria-label": label });
  const wide = WIDTH / Math.max(1, n);
  for (let at = 0; at < n; at += 1) {
    const of = rows.slice(Math.floor((at * rows.length) / n), Math.max(Math.floor(((at + 1) * rows.length) / n), Math.floor((at * rows.length) / n) + 1));
    const row = of.reduce((a, b) => (b.bytes > a.bytes ? b : a));
    const high = (row.bytes / most) * (HEIGHT - 4);
    const column = svg("rect", { x: at * wide + wide * 0.08, y: HEIGHT - high, width: wide * 0.84, height: high,
      class: row.estimate ? "estimate" : row.bytes > 2 * mean ? "skewed" : "" },
      svg("title", {}, `partition ${row.partition}: ${bytes(row.bytes)}${row.estimate ? ", estimated" : ""}, ${percent(row.bytes / (mean || 1))} of the mean`));
    drawing.append(column);
  }
  const y = HEIGHT - (mean / most) * (HEIGHT - 4);
  drawing.append(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "mean" }));
  return drawing;
}
