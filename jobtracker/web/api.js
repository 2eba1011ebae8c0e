// The REST API of the JobTracker: the page knows nothing that it does not tell. A token is sent as a header, never in an
// address, and kept for this tab alone.

const KEY = "howdah.token";
let asking = null;
let refused = false;
let askForToken = async () => null;

export class Problem extends Error {
  constructor(status, kind, detail) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

/** Who is to ask for a token where one is needed: gives the token, or null. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** At most one question at a time, however many requests wait for the answer. */
function needToken(why) {
  // Who has said no is not asked again and again.
  if (refused) return null;
  asking ??= askForToken(why).then((text) => {
    asking = null;
    if (text) token.set(text);
    else refused = true;
    return text;
  });
  return asking;
}

async function problemOf(response) {
  const text = await response.text();
  try {
    const told = JSON.parse(text);
    return new Problem(response.status, told.type, told.detail);
  } catch {
    return new Problem(response.status, "unknown", text || `${response.status} ${response.statusText}`);
  }
}

/** A request with the token; throws a `Problem` that says what is wrong. */
export async function request(path, options = {}) {
  for (;;) {
    const used = token.get();
    const headers = new Headers(options.headers);
    if (used) headers.set("Authorization", `Bearer ${used}`);
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "unreachable", "The JobTracker does not answer.");
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401) throw problem;
    // Another request may have got one meanwhile.
    if (token.get() === used && !(await needToken(problem.message))) throw problem;
  }
}

export async function get(path, signal) {
  return (await request(path, { signal })).json();
}

export async function post(path, body, headers = {}) {
  const options = { method: "POST", headers };
  if (body !== undefined) {
    options.body = typeof body === "string" ? body : JSON.stringify(body);
    options.headers = { "Content-Type": "application/json", ...headers };
  }
  return (await request(path, options)).json();
}

export const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

const delay = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    resolve();
  }, { once: true });
});

/** Calls `tell(kind, data)` for each event until `signal`, and `state(text)` when the connection comes or goes. */
export async function listen({ job, signal, tell, state }) {
  let pause = 500;
  while (!signal.aborted) {
    try {
      const response = await request(`/v1/events${query({ job })}`, { signal });
      state("live");
      pause = 500;
      await read(response.body, tell);
    } catch (error) {
      if (signal.aborted) return;
    }
    state("lost");
    await delay(pause * (0.75 + Math.random() / 2), signal);
    pause = Math.min(pause * 2, 10_000);
  }
}

async function read(body, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const whole = rest.split("\n\n");
    rest = whole.pop();
    for (const event of whole) {
      const lines = event.split("\n");
      const of = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = of("data");
      if (data !== undefined) tell(of("event") ?? "message", JSON.parse(data));
    }
  }
}
