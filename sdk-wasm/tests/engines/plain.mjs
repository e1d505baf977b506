/*
 * A browser that nobody drives: it is started with an address, and the page there asks for what it is to do. Promises a profile that stays
 * when the browser is killed. Knows one page, whose address must be of the stand-in shop (it has the script that asks).
 */
import { createServer } from "node:http";
import { rmSync } from "node:fs";
import { end, start, within } from "./process.mjs";

/** In the page, before anything else: asks, does, tells. */
const obey = async (address) => {
  for (;;) {
    const { number, code } = await (await fetch(`${address}/next`)).json();
    let said;
    try {
      said = { value: await (0, eval)(code) };
    } catch (error) {
      said = { error: String(error) };
    }
    await fetch(`${address}/said?${number}`, { method: "POST", body: JSON.stringify(said) });
  }
};

export const startPlain = async (command, environment, profile) => {
  const waiting = new Map();
  const orders = [];
  let last = 0;
  let asked;
  /** Gives the page that asked the next thing to do. */
  const give = () => {
    if (!asked || !orders.length) return;
    asked.end(JSON.stringify(orders.shift()));
    asked = undefined;
  };
  const server = createServer(async (request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("cache-control", "no-store");
    if (request.url == "/next") {
      asked = response;
      return give();
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    response.end();
    const { value, error } = JSON.parse(Buffer.concat(chunks));
    const { done, failed } = waiting.get(+request.url.split("?")[1]);
    if (error) failed(new Error(error));
    else done(value);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const address = `http://127.0.0.1:${server.address().port}`;
  const run = (code) =>
    within(
      new Promise((done, failed) => {
        waiting.set(++last, { done, failed });
        orders.push({ number: last, code });
        give();
      }),
      code,
    );
  let group;
  const kill = async () => {
    server.closeAllConnections();
    server.close();
    await end(group);
  };
  return {
    profile,
    async open(url) {
      const to = new URL(url);
      to.searchParams.set("early", `(${obey})("${address}");${to.searchParams.get("early") ?? ""}`);
      group = start(command, [to.href], environment);
      return { run };
    },
    kill,
    async close() {
      await kill();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
};
