// The time line of a job's attempts: a row for each slot of each host, drawn on one canvas of which only what can be seen is
// drawn, so that ten thousand tasks are as fluent as ten.

import { h, put, say } from "./dom.js";
import { byName, bytes, duration, time } from "./format.js";

const GUTTER = 128;
const AXIS = 24;
const ROWS_HEIGHT_MAX = 440;
const SPAN_MIN_MS = 20;

const PLACES = { node_local: "on a host of its bytes", rack_local: "on their rack", off_rack: "on another rack" };

/** What is told of one attempt in a few words. */
export function words(attempt) {
  const took = attempt.began_at ? (attempt.ended_at ?? Date.now()) - attempt.began_at : NaN;
  const parts = [attempt.state.toLowerCase(), attempt.host, attempt.began_at ? `began ${time(attempt.began_at)}` : "",
    `took ${duration(took)}`];
  if (attempt.bytes !== undefined) parts.push(`read ${bytes(attempt.bytes)}`);
  if (attempt.place) parts.push(PLACES[attempt.place]);
  if (attempt.progress !== undefined) parts.push(`${Math.floor(attempt.progress * 100)} % done`);
  if (attempt.backup) parts.push("a backup of a late one");
  if (attempt.failure) parts.push(attempt.failure.replaceAll("_", " "));
  return parts.filter(Boolean).join(" · ");
}

const isMap = (attempt) => attempt.attempt.includes("_m_");

/** Attempts by host and slot: each goes to the first row of its host that is free when it begins. */
export function lanesOf(attempts, now) {
  const hosts = new Map();
  for (const attempt of attempts) {
    if (!attempt.began_at) continue;
    const of = hosts.get(attempt.host);
    if (of) of.push(attempt);
    else hosts.set(attempt.host, [attempt]);
  }
  const names = [...hosts.keys()].sort(byName);
  const lanes = [];
  for (const host of names) {
    const mine = [];
    for (const attempt of hosts.get(host).sort((a, b) => a.began_at - b.began_at)) {
      let lane = mine.find((it) => it.until <= attempt.began_at);
      if (!lane) mine.push((lane = { host, first: mine.length === 0, attempts: [], until: 0 }));
      lane.attempts.push(attempt);
      lane.until = attempt.ended_at ?? now;
    }
    lanes.push(...mine);
  }
  return lanes;
}

/** Steps of the axis: 1, 2 or 5 of a power of ten, or parts of minutes and hours. */
function step(span, width) {
  const wanted = (span / width) * 90;
  const nice = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 864e5];
  return nice.find((it) => it >= wanted) ?? nice.at(-1);
}

const COLOURS = ["map", "reduce", "failed", "killed", "map-live", "reduce-live", "near", "rack", "far", "line", "text", "quiet", "back"];

export function timeline({ pick }) {
  const canvas = h("canvas", { role: "img", "aria-label": "Time line of attempts; the table of attempts tells the same" });
  const spacer = h("div", { class: "tl-spacer" });
  const view = h("div", { class: "tl-view", tabindex: 0, role: "group", "aria-label": "Time line: arrows move, plus and minus zoom" }, canvas, spacer);
  const tip = h("div", { class: "tl-tip", hidden: true, "aria-hidden": "true" });
  const range = h("span", { class: "quiet num" });
  const by = h("select", { class: "input small", "aria-label": "Colour by", on: { change: () => legend() } },
    h("option", { value: "state" }, "by kind and state"), h("option", { value: "place" }, "by locality"));
  const keys = h("span", { class: "legend" });
  const button = (text, label, click) => h("button", { class: "button small", type: "button", "aria-label": label, title: label, on: { click } }, text);
  const element = h("section", { class: "timeline", "aria-label": "Time line" },
    h("div", { class: "tl-bar" }, by, keys, h("span", { class: "spring" }), range,
      button("−", "Zoom out", () => zoom(2)), button("+", "Zoom in", () => zoom(0.5)), button("Fit", "Fit: show all", () => fit()),
      button("Trace", "Trace: save it for Perfetto or Chrome", () => save())),
    view, tip);

  let attempts = [];
  let lanes = [];
  let now = Date.now();
  let whole = { from: 0, to: 1 };
  let shown = null;
  let colours = {};
  let hovered = null;
  let due = false;
  let row = 16;

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    colours = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--tl-${name}`).trim()]));
  }

  function legend() {
    const entries = by.value === "state"
      ? [["map", "map"], ["reduce", "reduce"], ["map-live", "running"], ["failed", "failed"], ["killed", "killed"]]
      : [["near", "on a host of its bytes"], ["rack", "on their rack"], ["far", "elsewhere"], ["killed", "reduce, or not known"]];
    put(keys, entries.map(([name, text]) => h("span", { class: "key" }, h("i", { class: `swatch ${name}` }), text)));
    draw();
  }

  function colourOf(attempt) {
    if (by.value === "place") return { node_local: "near", rack_local: "rack", off_rack: "far" }[attempt.place] ?? "killed";
    if (attempt.state === "FAILED") return "failed";
    if (attempt.state === "KILLED") return "killed";
    const kind = isMap(attempt) ? "map" : "reduce";
    return attempt.state === "RUNNING" ? `${kind}-live` : kind;
  }

  function size() {
    const height = Math.min(ROWS_HEIGHT_MAX, lanes.length * row) + AXIS;
    view.style.height = `${height}px`;
    spacer.style.height = `${lanes.length * row + AXIS - height}px`;
    const scale = devicePixelRatio || 1;
    const [w, t] = [view.clientWidth, height];
    if (canvas.width !== Math.round(w * scale) || canvas.height !== Math.round(t * scale)) {
      canvas.width = Math.round(w * scale);
      canvas.height = Math.round(t * scale);
      canvas.style.width = `${w}px`;
      canvas.style.height = `${t}px`;
    }
    return { scale, width: w, height: t };
  }

  const span = () => shown ?? whole;
  const toX = (at, width) => GUTTER + ((at - span().from) / (span().to - span().from)) * (width - GUTTER);
  const toTime = (x) => span().from + ((x - GUTTER) / (view.clientWidth - GUTTER)) * (span().to - span().from);

  function draw() {
    if (due) return;
    due = true;
    requestAnimationFrame(paint);
  }

  function paint() {
    due = false;
    if (!element.isConnected) return;
    const began = performance.now();
    const { scale, width, height } = size();
    const g = canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.fillStyle = colours.back;
    g.fillRect(0, 0, width, height);
    const top = view.scrollTop;
    const first = Math.max(0, Math.floor(top / row));
    const last = Math.min(lanes.length, Math.ceil((top + height - AXIS) / row) + 1);
    g.font = "12px system-ui, sans-serif";
    g.textBaseline = "middle";
    // The hosts' lines first, bars over them.
    g.strokeStyle = colours.line;
    g.lineWidth = 1;
    g.beginPath();
    for (let at = first; at < last; at += 1) {
      if (!lanes[at].first) continue;
      const y = Math.round(AXIS + at * row - top) + 0.5;
      g.moveTo(0, y);
      g.lineTo(width, y);
    }
    g.stroke();
    drawBars(g, { first, last, top, width });
    drawNames(g, { first, last, top, height });
    drawAxis(g, width);
    say(range, `${duration(span().to - span().from)} shown`);
    element.dataset.attempts = attempts.length;
    element.dataset.drawMs = (performance.now() - began).toFixed(1);
  }

  /** All bars of one colour at once: a canvas is quick if its colour seldom changes. */
  function drawBars(g, { first, last, top, width }) {
    const bars = new Map();
    const add = (colour, x, y, w, t) => {
      let list = bars.get(colour);
      if (!list) bars.set(colour, (list = []));
      list.push(x, y, w, t);
    };
    const pad = row > 12 ? 2 : 1;
    const { from, to } = span();
    for (let at = first; at < last; at += 1) {
      const y = AXIS + at * row - top + pad;
      const t = row - 2 * pad + 1;
      let drawn = -1;
      let drawnColour = "";
      for (const attempt of lanes[at].attempts) {
        const end = attempt.ended_at ?? now;
        if (end < from) continue;
        if (attempt.began_at > to) break;
        const x = Math.max(GUTTER, toX(attempt.began_at, width));
        const right = Math.min(width, toX(end, width));
        const w = Math.max(1, right - x - (right - x > 3 ? 1 : 0));
        const colour = colourOf(attempt);
        // Bars that fall on the same point look as one.
        if (w <= 1 && Math.floor(x) === drawn && colour === drawnColour) continue;
        drawn = Math.floor(x);
        drawnColour = colour;
        add(colour, x, y, w, t);
        if (attempt.progress > 0 && by.value === "state") add(colour.replace("-live", ""), x, y, w * attempt.progress, t);
        if (attempt.backup || attempt === hovered) add("outline", x, y, w, t);
      }
    }
    for (const [colour, list] of bars) {
      if (colour === "outline") continue;
      g.fillStyle = colours[colour];
      g.beginPath();
      for (let at = 0; at < list.length; at += 4) g.rect(list[at], list[at + 1], list[at + 2], list[at + 3]);
      g.fill();
    }
    const outlined = bars.get("outline") ?? [];
    g.strokeStyle = colours.text;
    for (let at = 0; at < outlined.length; at += 4) {
      g.strokeRect(outlined[at] + 0.5, outlined[at + 1] + 0.5, Math.max(1, outlined[at + 2] - 1), outlined[at + 3] - 1);
    }
  }

  function drawNames(g, { first, last, top, height }) {
    g.fillStyle = colours.back;
    g.fillRect(0, AXIS, GUTTER - 1, height - AXIS);
    g.fillStyle = colours.text;
    g.textAlign = "left";
    for (let at = first; at < last; at += 1) {
      if (!lanes[at].first && at !== first) continue;
      const y = Math.max(AXIS + row / 2, AXIS + at * row - top + row / 2 + 0.5);
      g.fillText(clip(g, lanes[at].host, GUTTER - 12), 4, y);
    }
  }

  function clip(g, text, width) {
    if (g.measureText(text).width <= width) return text;
    let cut = text;
    while (cut.length > 1 && g.measureText(`${cut}…`).width > width) cut = cut.slice(0, -1);
    return `${cut}…`;
  }

  function drawAxis(g, width) {
    g.fillStyle = colours.back;
    g.fillRect(0, 0, width, AXIS);
    const { from, to } = span();
    const every = step(to - from, width - GUTTER);
    g.strokeStyle = colours.line;
    g.fillStyle = colours.quiet;
    g.beginPath();
    g.moveTo(0, AXIS - 0.5);
    g.lineTo(width, AXIS - 0.5);
    g.textAlign = "left";
    let free = 0;
    for (let at = Math.ceil((from - whole.from) / every) * every; at <= to - whole.from; at += every) {
      const x = Math.round(toX(whole.from + at, width)) + 0.5;
      if (x < GUTTER) continue;
      g.moveTo(x, AXIS - 5);
      g.lineTo(x, AXIS);
      const text = at === 0 ? "0" : duration(at).replace(".0 s", " s");
      const wide = g.measureText(text).width;
      const begin = x + 3 + wide > width ? x - 3 - wide : x + 3;
      if (begin < free) continue;
      free = begin + wide + 8;
      g.fillText(text, begin, AXIS / 2);
    }
    g.stroke();
  }

  function zoom(by_, at = (span().from + span().to) / 2) {
    const { from, to } = span();
    const long = Math.min(whole.to - whole.from, Math.max(SPAN_MIN_MS, (to - from) * by_));
    if (long >= whole.to - whole.from) return fit();
    const share = (at - from) / (to - from);
    pan(at - share * long, long);
  }

  function pan(from, long = span().to - span().from) {
    const begin = Math.max(whole.from, Math.min(from, whole.to - long));
    shown = { from: begin, to: begin + long };
    draw();
  }

  function fit() {
    shown = null;
    draw();
  }

  function found(event) {
    const box = view.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (x < GUTTER || y < AXIS) return null;
    const lane = lanes[Math.floor((y - AXIS + view.scrollTop) / row)];
    const [at, slack] = [toTime(x), toTime(x + 2) - toTime(x)];
    return lane?.attempts.find((it) => it.began_at - slack <= at && (it.ended_at ?? now) + slack >= at) ?? null;
  }

  function point(event) {
    const attempt = found(event);
    if (attempt !== hovered) {
      hovered = attempt;
      draw();
    }
    tip.hidden = !attempt;
    view.style.cursor = attempt ? "pointer" : "default";
    if (!attempt) return;
    put(tip, h("strong", {}, attempt.attempt), h("span", {}, words(attempt)));
    const box = element.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(event.clientX - box.left + 12, box.width - 340))}px`;
    tip.style.top = `${event.clientY - box.top + 14}px`;
  }

  let dragged = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.button === 0) dragged = { x: event.clientX, from: span().from, moved: false };
  });
  view.addEventListener("pointermove", (event) => {
    if (dragged && event.buttons) {
      const by_ = event.clientX - dragged.x;
      if (Math.abs(by_) > 4) dragged.moved = true;
      if (dragged.moved && shown) pan(dragged.from - (by_ / (view.clientWidth - GUTTER)) * (shown.to - shown.from));
    } else {
      point(event);
    }
  });
  view.addEventListener("pointerup", (event) => {
    const was = dragged;
    dragged = null;
    const attempt = !was?.moved && event.button === 0 && found(event);
    if (attempt) pick(attempt);
  });
  view.addEventListener("pointerleave", () => {
    tip.hidden = true;
    hovered = null;
    dragged = null;
    draw();
  });
  view.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, toTime(event.clientX - view.getBoundingClientRect().left));
    } else if (shown && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
      event.preventDefault();
      const by_ = event.deltaX || event.deltaY;
      pan(shown.from + (by_ / (view.clientWidth - GUTTER)) * (shown.to - shown.from));
    }
  }, { passive: false });
  view.addEventListener("dblclick", (event) => zoom(0.25, toTime(event.clientX - view.getBoundingClientRect().left)));
  view.addEventListener("scroll", draw, { passive: true });
  view.addEventListener("keydown", (event) => {
    const long = span().to - span().from;
    if (event.key === "+" || event.key === "=") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") fit();
    else if (event.key === "ArrowLeft") pan(span().from - long / 8);
    else if (event.key === "ArrowRight") pan(span().from + long / 8);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(view);

  function save() {
    const events = lanes.flatMap((lane, at) => lane.attempts.map((it) => ({
      name: it.attempt.split("_").slice(3).join("_"), cat: isMap(it) ? "map" : "reduce", ph: "X", pid: lane.host, tid: at,
      ts: it.began_at * 1000, dur: ((it.ended_at ?? now) - it.began_at) * 1000, args: { state: it.state, place: it.place, bytes: it.bytes },
    })));
    const url = URL.createObjectURL(new Blob([JSON.stringify({ traceEvents: events })], { type: "application/json" }));
    const name = attempts[0]?.attempt.split("_").slice(1, 3).join("_") ?? "job";
    h("a", { href: url, download: `job_${name}.trace.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  /** Shows these attempts; `at` is the JobTracker's time. */
  element.set = (all, at) => {
    attempts = all;
    now = at;
    lanes = lanesOf(all, at);
    row = lanes.length <= 16 ? 20 : 14;
    let from = Infinity;
    let to = -Infinity;
    for (const it of all) {
      if (!it.began_at) continue;
      if (it.began_at < from) from = it.began_at;
      if ((it.ended_at ?? at) > to) to = it.ended_at ?? at;
    }
    whole = from < to ? { from, to } : { from: at - 1000, to: at };
    draw();
  };
  element.fit = fit;
  /** All anew, from what is known. */
  element.redraw = () => element.set(attempts, now);
  element.refresh = () => {
    readColours();
    draw();
  };
  readColours();
  legend();
  return element;
}
