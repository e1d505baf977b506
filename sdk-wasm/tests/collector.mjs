/*
 * A stand-in for the collector and for the shop's web server, on two ports of the loopback interface, so that every request
 * crosses origins as it does in production; on demand with the real collector behind it. Promises to record every request, and to
 * answer as the test says; knows no browser.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startHeadwater } from "./headwater.mjs";

const dist = join(import.meta.dirname, "../dist");
const TYPES = { js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm", html: "text/html;charset=utf-8" };

const listen = (server) =>
  new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
const read = async (request) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

/** A policy that refuses WebAssembly (no `wasm-unsafe-eval`), and requests to anybody but the collector. */
export const strict = (endpoint, also = "") =>
  `default-src 'none'; script-src 'self' 'nonce-n'; connect-src 'self' ${endpoint}; ${also}`;

/**
 * Starts both. With `BEHIND=headwater` batches and questions that are not to fail go to the real collector, and its answers come back.
 * With `CORE=js` pages come with a policy under which the core must be JavaScript.
 * `respond(batch, count)` says what the next answer is.
 */
export const startCollector = async () => {
  const real = process.env.BEHIND === "headwater" ? await startHeadwater() : undefined;
  const requests = [];
  const questions = [];
  const stored = new Map();
  const state = { respond: undefined, wasm: true, answersQuestions: true, preflights: 0, served: new Map(), files: {} };
  const cors = { "access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After" };

  /** Serves what was built, from any folder, and what the test put into `files`; says whether the path is one of a file. */
  const serve = ({ url }, response) => {
    const path = new URL(url, "http://page").pathname;
    const file = path.split("/").pop();
    const type = TYPES[file.split(".").pop()];
    if (!type) return false;
    const core = /wasm$|core\.js$/.test(file);
    if (core && !state.wasm) {
      response.writeHead(404).end();
      return true;
    }
    const bytes = state.files[path] ?? readFileSync(join(dist, file));
    state.served.set(file, bytes);
    response.writeHead(200, { ...state.headers, "content-type": type, "access-control-allow-origin": "*" });
    response.end(state.truncate && core ? bytes.subarray(0, bytes.length / 2) : bytes);
    return true;
  };

  const collector = createServer(async (request, response) => {
    if (request.method === "GET") {
      serve(request, response) || response.writeHead(404).end();
      return;
    }
    if (request.method === "OPTIONS") {
      state.preflights++;
      response.writeHead(204, { ...cors, "access-control-allow-headers": "*" }).end();
      return;
    }
    let body;
    try {
      body = await read(request);
    } catch {
      return; // The page went away in the middle of its request.
    }
    const said = JSON.parse(body);
    if (said.ids) {
      questions.push(said.ids);
      if (!state.answersQuestions) return response.writeHead(404, cors).end("{}");
      const events = real
        ? (await pass(request, body)).events
        : said.ids.flatMap((id, index) => (stored.has(id) ? [{ index, outcome: "duplicate" }] : []));
      return response.writeHead(200, cors).end(JSON.stringify({ success: true, events }));
    }
    const { batch } = said;
    const answer = state.respond?.(batch, requests.length) ?? {};
    requests.push({ body, batch, url: request.url, headers: request.headers, at: Date.now(), answer });
    if (answer.never) return;
    if (answer.down) {
      response.destroy();
      return;
    }
    if (answer.status) {
      response.writeHead(answer.status, { ...cors, ...answer.headers });
      response.end(JSON.stringify(answer.body ?? { error: { code: "x", message: "x" } }));
      return;
    }
    const events = [];
    const good = [];
    batch.forEach((event, index) => {
      const detail = answer.refuse?.(event);
      if (detail) events.push({ index, outcome: "refused", reason: "invalid_field", detail });
      else good.push(index);
    });
    const said200 = await take(request, events.length ? JSON.stringify({ ...said, batch: good.map((at) => batch[at]) }) : body);
    if (said200.status !== 200) return response.writeHead(said200.status, cors).end(said200.text);
    const known = new Map(said200.events.map(({ index, ...line }) => [good[index], line]));
    for (const index of good) {
      const line = known.get(index);
      if (line) events.push({ index, ...line });
      else stored.set(batch[index].messageId, batch[index]);
    }
    await answer.after;
    response.writeHead(200, { ...cors, "content-type": "application/json" });
    response.end(
      JSON.stringify({ success: true, accepted: batch.length - events.length, duplicate: 0, events }),
    );
  });
  /** What becomes of a batch: the real collector says it, where there is one behind this. */
  const take = async (request, body) => {
    if (real) return pass(request, body);
    const events = [];
    const ids = new Set(stored.keys());
    JSON.parse(body).batch.forEach(({ messageId }, index) => {
      if (ids.has(messageId)) events.push({ index, outcome: "duplicate" });
      ids.add(messageId);
    });
    return { status: 200, events };
  };
  const pass = async (request, body) => {
    const headers = { "content-type": request.headers["content-type"] };
    try {
      const answer = await fetch(real.url + request.url, { method: "POST", headers, body });
      const text = await answer.text();
      return { status: answer.status, text, events: answer.ok ? JSON.parse(text).events : [] };
    } catch (error) {
      // Ended with its test, while a page that is gone still sends.
      return { status: 503, text: String(error), events: [] };
    }
  };

  const pages = createServer((request, response) => {
    const url = new URL(request.url, "http://page");
    if (serve(request, response)) return;
    // The tag as the documentation shows it, with a queue for what is called before the script is there.
    const key = url.searchParams.get("key") ?? "wk_test";
    const tag = url.searchParams.has("bare")
      ? ""
      : `<script async src="/headwater.js" data-write-key="${key}" data-endpoint="${endpoint}"></script>`;
    response.writeHead(200, { "content-type": "text/html;charset=utf-8", ...state.headers });
    response.end(
      `<!doctype html><title>Shop</title><script nonce=n>headwater = [];` +
        `${url.searchParams.get("early") ?? ""}</script>${tag}<h1>Shop</h1>`,
    );
  });

  const endpoint = `http://127.0.0.1:${await listen(collector)}`;
  const page = `http://127.0.0.1:${await listen(pages)}`;
  if (process.env.CORE === "js") state.headers = { "content-security-policy": strict(endpoint) };
  /** Ends all of it. With the real collector behind, its log has to hold what was acknowledged: all of it, each event once. */
  const close = async () => {
    const log = real && (await real.log());
    await real?.stop();
    if (log)
      assert.deepEqual(
        log.map(({ messageId }) => messageId).toSorted(),
        [...stored.keys()].toSorted(),
        "the log holds what was acknowledged",
      );
    for (const server of [collector, pages]) {
      server.closeAllConnections();
      server.close();
    }
  };
  return Object.assign(state, { requests, questions, stored, endpoint, page, close });
};

/** Events that were sent more often than once, as a part of all that were sent. */
export const duplicates = ({ requests }) => {
  const sent = requests.flatMap(({ batch }) => batch.map(({ messageId }) => messageId));
  return (sent.length - new Set(sent).size) / sent.length;
};

/** Answers of a collector that is not there. */
export const down = () => ({ down: true });

/** Fails unless the numbers seen are 1, 2, 3… without a gap, each of one event alone; says how many there are. */
export const gapless = (collector) => {
  const numbers = new Map();
  for (const { batch } of collector.requests)
    for (const { messageId, context } of batch) {
      const { queue, seq, dropped = [] } = context.headwater ?? {};
      if (!seq) continue;
      const key = `${queue} ${seq}`;
      const other = numbers.get(key) ?? messageId;
      if (other !== messageId) throw new Error(`${key} is the number of ${other} and of ${messageId}`);
      numbers.set(key, messageId);
      for (const [first, last, reason] of dropped)
        for (let gone = first; gone <= last; gone++) numbers.set(`${queue} ${gone}`, reason);
    }
  const queues = new Set([...numbers.keys()].map((key) => key.split(" ")[0]));
  for (const queue of queues) {
    const own = [...numbers.keys()].filter((key) => key.startsWith(queue));
    const highest = Math.max(...own.map((key) => +key.split(" ")[1]));
    if (highest !== own.length) throw new Error(`${own.length} numbers up to ${highest}`);
  }
  return { queues: queues.size, numbers: numbers.size };
};
