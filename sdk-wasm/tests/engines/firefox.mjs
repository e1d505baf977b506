/*
 * Firefox, driven by WebDriver BiDi over a WebSocket, which it speaks by itself. Promises a fresh profile with people's settings
 * but for what calls home; knows nothing of Headwater.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";
import { until } from "../browser.mjs";
import { end, program, start, within } from "./process.mjs";

/** Nothing is asked of the network, and the settings that a driver would change stay as people have them. */
const SETTINGS = {
  "remote.prefs.recommended": false,
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.aboutwelcome.enabled": false,
  "browser.newtabpage.enabled": false,
  "browser.safebrowsing.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.page": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,#",
  "toolkit.telemetry.enabled": false,
};

/** Speaks to the browser: `send` resolves to what a command gives back. */
const connect = async (address) => {
  const socket = new WebSocket(address);
  const waiting = new Map();
  let last = 0;
  const failAll = (error) => {
    for (const { failed } of waiting.values()) failed(error);
    waiting.clear();
  };
  await new Promise((done, failed) => {
    socket.once("open", done);
    socket.once("error", failed);
  });
  socket.on("error", failAll);
  socket.on("close", () => failAll(new Error("Firefox has gone away")));
  socket.on("message", (text) => {
    const { id, type, result, error, message } = JSON.parse(text);
    const command = waiting.get(id);
    if (!waiting.delete(id)) return;
    if (type == "success") command.done(result);
    else command.failed(new Error(`Firefox: ${error}: ${message}`));
  });
  const send = (method, params = {}) =>
    within(
      new Promise((done, failed) => {
        waiting.set(++last, { done, failed });
        socket.send(JSON.stringify({ id: last, method, params }));
      }),
      `Firefox: ${method} ${params.expression ?? ""}`,
    );
  return { send, close: () => socket.terminate() };
};

const pageOf = (send, context) => ({
  async run(code) {
    const said = await send("script.evaluate", { expression: code, target: { context }, awaitPromise: true });
    if (said.type != "success") throw new Error(`Firefox: ${said.exceptionDetails.text}`);
    return said.result.value;
  },
  go: (url) => send("browsingContext.navigate", { context, url, wait: "complete" }),
  reload: () => send("browsingContext.reload", { context, wait: "complete" }),
  back: () => send("browsingContext.traverseHistory", { context, delta: -1 }),
  close: () => send("browsingContext.close", { context }),
});

export const firefox = {
  name: "Firefox",
  /** Whether an IndexedDB transaction that begins as a page is left is committed. */
  keepsOnLeaving: true,
  async start({ profile = mkdtempSync(join(tmpdir(), "headwater-test-")), inPrivate } = {}) {
    const command = program(
      [process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"],
      "apt-get install firefox-esr, or set FIREFOX",
    );
    const settings = { ...SETTINGS, "browser.privatebrowsing.autostart": !!inPrivate };
    const told = join(profile, "WebDriverBiDiServer.json");
    rmSync(told, { force: true });
    writeFileSync(
      join(profile, "user.js"),
      Object.entries(settings)
        .map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`)
        .join(""),
    );
    const group = start(
      command,
      ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "about:blank"],
      { HOME: profile, MOZ_CRASHREPORTER_DISABLE: "1" },
    );
    const forget = () => rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    let connection;
    try {
      const port = await until(
        () => {
          try {
            return JSON.parse(readFileSync(told, "utf8")).ws_port;
          } catch {
            return 0; // Not written, or not to its end.
          }
        },
        "Firefox",
        60_000,
      );
      connection = await connect(`ws://127.0.0.1:${port}/session`);
      const { capabilities } = await connection.send("session.new", { capabilities: {} });
      const { send } = connection;
      return {
        profile,
        version: capabilities.browserVersion,
        async open(url) {
          const { context } = await send("browsingContext.create", { type: "tab" });
          const page = pageOf(send, context);
          await page.go(url);
          return page;
        },
        async kill() {
          await end(group);
          connection.close();
        },
        async close() {
          // Its profile goes, too: nobody has to wait until it is written.
          await end(group);
          connection.close();
          forget();
        },
      };
    } catch (error) {
      await end(group);
      connection?.close();
      forget();
      error.message += `\n${group.said()}`;
      throw error;
    }
  },
  stop() {},
};
