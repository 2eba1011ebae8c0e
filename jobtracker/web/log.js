// What one attempt has written, and what is known of the attempt: live while it runs.

import { get, post, request } from "./api.js";
import { badge, confirm, h, notice, put, say, toast } from "./dom.js";
import { bytes, duration, time } from "./format.js";

/** Bytes of the log's end that are read first. */
const FIRST_BYTES = 128 << 10;
const PART_BYTES = 1 << 20;
/** Characters that are shown at most: of a longer log the end. */
const SHOWN_MAX = 2_000_000;

/** A part of a log: its text, where it begins, how long the log is. */
export async function part(job, attempt, range, signal) {
  const response = await request(`/v1/jobs/${job}/attempts/${attempt}/log?${new URLSearchParams(range)}`, { signal });
  const raw = await response.arrayBuffer();
  return {
    raw,
    offset: Number(response.headers.get("howdah-log-offset")),
    length: Number(response.headers.get("howdah-log-length")),
  };
}

/** The last lines of a log, for where it is only mentioned. */
export async function tail(job, attempt, limit, signal) {
  const { raw, offset } = await part(job, attempt, { limit }, signal);
  const text = new TextDecoder().decode(raw);
  return offset > 0 ? text.slice(text.indexOf("\n") + 1) : text;
}

export function open(main, { rest: [job, attempt], feed, signal, title, failed }) {
  title(attempt);
  const state = h("span", {});
  const facts = h("dl", { class: "facts" });
  const why = h("div", {});
  const text = h("pre", { class: "log", tabindex: 0, role: "region", "aria-label": "Log" });
  const size = h("span", { class: "quiet num" });
  const follow = h("input", { type: "checkbox", checked: true, id: "follow" });
  const earlier = h("button", { class: "button small", type: "button", hidden: true, on: { click: fromTheStart } }, "From the start");
  const kill = h("button", { class: "button small", type: "button", hidden: true, on: { click: () => end("kill", "Kill") } }, "Kill attempt");
  const fail = h("button", { class: "button small", type: "button", hidden: true, on: { click: () => end("fail", "Fail") } }, "Fail attempt");
  main.append(
    h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/jobs" }, "Jobs"), h("a", { href: `#/jobs/${job}` }, job)),
    h("div", { class: "head" }, h("h1", { class: "mono" }, attempt), state, h("span", { class: "spring" }), kill, fail),
    facts, why,
    h("div", { class: "log-bar" }, h("h2", {}, "Log"), size, h("span", { class: "spring" }), earlier,
      h("label", { for: "follow" }, follow, " follow")),
    text);

  let running = true;
  let decoder = new TextDecoder();
  let next = null;

  async function end(verb, word) {
    const detail = verb === "kill" ? "Its task runs again, on another host if there is one." : "It counts as one of its task's tries.";
    if (!(await confirm(`${word} this attempt?`, detail, word))) return;
    try {
      await post(`/v1/jobs/${job}/attempts/${attempt}/${verb}`);
      await know();
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  async function know() {
    const { tasks } = await get(`/v1/jobs/${job}/explain?task=${attempt.replace("attempt", "task").replace(/_\d+$/, "")}`, signal);
    const of = tasks[0]?.attempts.find((it) => it.attempt === attempt);
    if (!of) return;
    running = of.state === "RUNNING";
    kill.hidden = fail.hidden = !running;
    put(state, badge(of.state));
    const pieces = of.split?.pieces ?? [];
    const read = pieces.map((it) => `${it.path} [${bytes(it.offset)} + ${bytes(it.length)}]`);
    const took = of.began_at ? duration((of.ended_at ?? Date.now()) - of.began_at) : "–";
    const known = [["Host", of.host], ["Began", time(of.began_at)], ["Took", took],
      ["Locality", of.place?.replaceAll("_", " ")], ["Read", read.slice(0, 3).join(", ") + (read.length > 3 ? `, and ${read.length - 3} more` : "")]];
    put(facts, known.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    put(why, of.failure && notice(of.state === "KILLED" ? "warn" : "bad", h("strong", {}, of.failure.kind.replaceAll("_", " ")), ` ${of.failure.message}`));
  }

  function add(told) {
    if (next !== null && told.offset > next) text.append(`\n[… ${bytes(told.offset - next)} left out …]\n`);
    next = told.offset + told.raw.byteLength;
    const more = decoder.decode(told.raw, { stream: true });
    if (more) {
      if (text.textContent.length > SHOWN_MAX) text.textContent = text.textContent.slice(-SHOWN_MAX / 2);
      text.append(more);
      if (follow.checked) text.scrollTop = text.scrollHeight;
    }
    say(size, `${bytes(told.length)} written`);
    return told.raw.byteLength > 0 && next < told.length;
  }

  async function fromTheStart() {
    put(text);
    decoder = new TextDecoder();
    next = null;
    earlier.hidden = true;
    follow.checked = false;
    try {
      while (!signal.aborted && add(await part(job, attempt, { offset: next ?? 0, limit: PART_BYTES }, signal)));
    } catch (error) {
      failed(error);
    }
  }

  async function read() {
    if (next === null) {
      const first = await part(job, attempt, { limit: FIRST_BYTES }, signal);
      earlier.hidden = first.offset === 0;
      if (first.length === 0) {
        put(text, h("span", { class: "quiet" }, running ? "Nothing is written yet." : "It has written nothing."));
        return;
      }
      put(text);
      add(first);
      return;
    }
    while (!signal.aborted && add(await part(job, attempt, { offset: next, limit: PART_BYTES }, signal)));
  }

  let busy = false;
  async function look() {
    if (busy) return;
    busy = true;
    try {
      await know();
      await read();
    } catch (error) {
      if (error.name !== "AbortError" && next === null) put(text, h("span", { class: "quiet" }, error.message));
    }
    busy = false;
  }
  look();
  const timer = setInterval(() => {
    if (running && !document.hidden) look();
  }, 1000);
  feed.on((kind) => {
    if (kind === "job") look();
  }, signal);
  signal.addEventListener("abort", () => clearInterval(timer));
}
