// The chunk store's files: folders page by page, the head of a file, upload and download. What a file holds is only ever shown
// as text.

import { get, query, request } from "./api.js";
import { confirm, h, notice, put, say, toast } from "./dom.js";
import { bytes, count, plural, time } from "./format.js";
import { table } from "./tables.js";

const PAGE = 500;
const PREVIEW_BYTES = 64 << 10;
const HEX_BYTES = 1024;
/** Larger ones pass through the browser's memory or its disk: the command line does that better. */
const DOWNLOAD_WARN_BYTES = 1 << 30;

const join = (folder, name) => (folder === "/" ? `/${name}` : `${folder}/${name}`);
const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
const linkTo = (path) => `#/files${path.split("/").map(encodeURIComponent).join("/")}`;

export function open(main, { rest, parameters, signal, title, failed }) {
  let path = "/";
  try {
    path = `/${rest.map(decodeURIComponent).filter(Boolean).join("/")}`;
  } catch {
    // An address that is none: the root.
  }
  title(path);
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/files" }, "/"));
  const names = path.split("/").filter(Boolean);
  names.forEach((name, at) => {
    crumbs.append(at === names.length - 1
      ? h("span", { class: "mono", "aria-current": "page" }, name)
      : h("a", { class: "mono", href: linkTo(`/${names.slice(0, at + 1).join("/")}`) }, name));
  });
  const body = h("div", {});
  main.append(h("div", { class: "head" }, h("h1", {}, names.length ? names.at(-1) : "Files")), crumbs, body);

  async function load() {
    const status = path === "/" ? { kind: "folder" } : await get(`/v1/files/stat${query({ path })}`, signal);
    if (status.kind === "folder") folder();
    else await file(status);
  }

  function folder() {
    const search = h("input", { class: "input", type: "search", placeholder: "name", "aria-label": "Search by name", "data-search": true,
      on: { input: draw } });
    const chosen = h("input", { type: "file", multiple: true, hidden: true, on: { change: () => upload([...chosen.files]) } });
    const button = h("button", { class: "button primary", type: "button", on: { click: () => chosen.click() } }, "Upload");
    const uploads = h("div", { class: "uploads" });
    const note = h("span", { class: "quiet" });
    const list = table({
      caption: `What is in ${path}`,
      columns: [
        { name: "Name", className: "grow mono", cell: (it, shown) => shown ?? h("a", { href: linkTo(it.path), tabindex: -1 },
          it.kind === "folder" ? `${nameOf(it.path)}/` : nameOf(it.path)) },
        { name: "Size", className: "num", cell: (it) => (it.kind === "folder" ? "" : bytes(it.length)) },
        { name: "Chunks", className: "num wide-only", cell: (it) => count(it.n_chunks) },
        { name: "Replicas", className: "num wide-only", cell: (it) => count(it.replication) },
        { name: "Owner", className: "wide-only", cell: (it) => it.owner },
        { name: "Modified", className: "when", cell: (it) => time(it.modified) },
        { name: "", label: "Notes", className: "quiet", cell: (it) => [it.open && "being written", it.log && "log", it.cut && "cut off"].filter(Boolean).join(", ") },
      ],
      key: (it) => it.path, href: (it) => linkTo(it.path), empty: "This folder is empty. Drop files here, or use howdah fs put.",
    });
    const more = h("button", { class: "button", type: "button", hidden: true, on: { click: () => page().catch(failed) } }, "More");
    put(body, h("div", { class: "filters" }, search, note, h("span", { class: "spring" }), chosen, button), uploads, list,
      h("div", { class: "pager" }, more));
    let entries = [];
    let after = null;
    function draw() {
      const text = search.value.trim().toLowerCase();
      list.update(entries.filter((it) => nameOf(it.path).toLowerCase().includes(text)));
      say(note, `${plural(entries.length, "entry", "entries")}${after ? ", and more" : ""}`);
    }
    async function page() {
      const told = await get(`/v1/files${query({ path, after, limit: PAGE })}`, signal);
      entries = entries.concat(told.entries);
      after = told.next ?? null;
      more.hidden = !after;
      draw();
    }
    async function upload(chosenFiles) {
      for (const it of chosenFiles) {
        const line = h("p", { class: "quiet", role: "status" }, `${it.name} (${bytes(it.size)}) is on its way …`);
        uploads.append(line);
        try {
          await request(`/v1/files/content${query({ path: join(path, it.name) })}`,
            { method: "PUT", body: it, headers: { "Content-Type": "application/octet-stream" } });
          toast(`${it.name} is there`);
          line.remove();
        } catch (error) {
          line.className = "notice bad";
          say(line, `${it.name}: ${error.message}`);
        }
      }
      chosen.value = "";
      entries = [];
      after = null;
      await page();
    }
    main.addEventListener("dragover", (event) => event.preventDefault(), { signal });
    main.addEventListener("drop", (event) => {
      event.preventDefault();
      const dropped = [...event.dataTransfer.files];
      if (dropped.length) upload(dropped).catch(failed);
    }, { signal });
    page().catch(failed);
  }

  async function file(status) {
    const text = h("pre", { class: "log", tabindex: 0, role: "region", "aria-label": "The head of the file" });
    const button = h("button", { class: "button primary", type: "button", on: { click: () => download(status).catch((error) => toast(error.message, "bad")) } }, "Download");
    const facts = [["Size", `${bytes(status.length)} (${count(status.length)} bytes)`], ["Chunks", count(status.n_chunks)],
      ["Replicas", count(status.replication)], ["Owner", status.owner], ["Modified", time(status.modified)]];
    const heading = h("h2", {}, "Head");
    put(body, h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      status.open && notice("warn", "It is still being written."),
      h("div", { class: "log-bar" }, heading, h("span", { class: "spring" }), button), text);
    if (status.open || status.log) {
      button.hidden = true;
      say(text, status.log ? "A log is read by howdah fs tail." : "It can be read when it is closed.");
      return;
    }
    const response = await request(`/v1/files/content${query({ path, length: PREVIEW_BYTES })}`, { signal });
    const raw = new Uint8Array(await response.arrayBuffer());
    const shown = preview(raw);
    say(heading, status.length > shown.bytes ? `The first ${bytes(shown.bytes)}` : "All of it");
    say(text, shown.text || "The file is empty.");
  }

  async function download(status) {
    if (status.length > DOWNLOAD_WARN_BYTES) {
      const detail = `It has ${bytes(status.length)}, all of which pass through the JobTracker and this browser. howdah fs get is quicker.`;
      if (!(await confirm("Download it here?", detail, "Download"))) return;
    }
    const response = await request(`/v1/files/content${query({ path })}`, { signal });
    const url = URL.createObjectURL(await response.blob());
    h("a", { href: url, download: nameOf(path) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
  load().catch(failed);
}

/** Text as text; other bytes in hexadecimal. A character that is cut off at the end is left out. */
export function preview(raw) {
  const text = new TextDecoder().decode(raw, { stream: true });
  const strange = [...text.slice(0, 4096)].filter((it) => it === "\uFFFD" || (it < " " && !"\n\r\t\f".includes(it))).length;
  if (strange * 50 <= Math.min(text.length, 4096)) return { text, bytes: raw.length };
  const lines = [];
  const shown = raw.subarray(0, HEX_BYTES);
  for (let at = 0; at < shown.length; at += 16) {
    const line = [...shown.subarray(at, at + 16)];
    const hex = line.map((it) => it.toString(16).padStart(2, "0")).join(" ").padEnd(48);
    const seen = line.map((it) => (it >= 32 && it < 127 ? String.fromCharCode(it) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex} ${seen}`);
  }
  return { text: lines.join("\n"), bytes: shown.length };
}
