/*
 * WebKitGTK: its MiniBrowser on a screen of its own (Xvfb), driven by WebKitWebDriver over HTTP. Promises the same as the other engines;
 * knows nothing of Headwater.
 *
 * A driven MiniBrowser keeps nothing on disk, ever. Where a test needs a profile that outlives its browser, `kept`, the browser is
 * started plainly, and its page asks this file what to do: see `plain.mjs`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../browser.mjs";
import { startPlain } from "./plain.mjs";
import { end, program, start } from "./process.mjs";

const advice = "apt-get install webkit2gtk-driver xvfb, or set WEBKIT_DRIVER, WEBKIT_BROWSER, XVFB";
const driver = () => program([process.env.WEBKIT_DRIVER, "/usr/bin/WebKitWebDriver"], advice);
const miniBrowser = () =>
  program(
    [
      process.env.WEBKIT_BROWSER,
      ...["aarch64", "x86_64"].flatMap((machine) =>
        ["webkitgtk-6.0", "webkit2gtk-4.1"].map((library) => `/usr/lib/${machine}-linux-gnu/${library}/MiniBrowser`),
      ),
    ],
    advice,
  );

/** The one screen of this run. */
let screen;
const display = async () => {
  screen ??= start(
    program([process.env.XVFB, "/usr/bin/Xvfb"], advice),
    ["-displayfd", "3", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
    {},
    ["pipe"],
  );
  await until(() => /^\d+$/m.test(screen.said()), "a screen");
  return `:${screen.said().match(/^\d+$/m)[0]}`;
};

const environment = async (home) => ({
  DISPLAY: await display(),
  GDK_BACKEND: "x11",
  HOME: home,
  XDG_DATA_HOME: join(home, "data"),
  XDG_CACHE_HOME: join(home, "cache"),
  XDG_CONFIG_HOME: join(home, "config"),
  // Whoever runs tests in a container has no right to make another one in it.
  WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
  LIBGL_ALWAYS_SOFTWARE: "1",
});

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

/** Commands to one session, one after the other: it has one current tab. */
const session = (base) => {
  let last = Promise.resolve();
  const ask = async (method, path, body) => {
    const response = await fetch(base + path, {
      method,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`WebKit: ${value?.error}: ${value?.message}`);
    return value;
  };
  const inTurn = (act) => {
    const turn = last.then(act);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    ask: (...given) => inTurn(() => ask(...given)),
    /** The same in this tab. */
    askTab: (handle, ...given) =>
      inTurn(async () => {
        await ask("POST", "/window", { handle });
        return ask(...given);
      }),
  };
};

const pageOf = ({ askTab }, handle) => ({
  async run(code) {
    // The promise's end comes through a callback: WebDriver's own way, older than promises.
    const said = await askTab(handle, "POST", "/execute/async", {
      script: `const done = arguments[arguments.length - 1];
        (async () => ${code})().then((value) => done([value]), (error) => done([null, String(error)]));`,
      args: [],
    });
    if (said[1]) throw new Error(`WebKit: ${said[1]}`);
    return said[0];
  },
  go: (url) => askTab(handle, "POST", "/url", { url }),
  reload: () => askTab(handle, "POST", "/refresh", {}),
  back: () => askTab(handle, "POST", "/back", {}),
  close: () => askTab(handle, "DELETE", "/window"),
});

const startDriven = async (home, args) => {
  const port = await freePort();
  const group = start(driver(), [`--port=${port}`], await environment(home));
  const address = `http://127.0.0.1:${port}`;
  const forget = () => rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  try {
    await until(() => fetch(`${address}/status`).then((answer) => answer.ok, () => false), "WebKitWebDriver");
    const { ask } = session(address);
    const { sessionId, capabilities } = await ask("POST", "/session", {
      capabilities: {
        alwaysMatch: {
          browserName: "MiniBrowser",
          "webkitgtk:browserOptions": { binary: miniBrowser(), args: ["--automation", ...args] },
          timeouts: { script: 60_000, pageLoad: 60_000 },
        },
      },
    });
    const own = session(`${address}/session/${sessionId}`);
    // The tab that it comes with stays: the next one is asked for from a tab, and the session ends with the last.
    const first = await own.ask("GET", "/window");
    return {
      profile: home,
      version: capabilities.browserVersion,
      async open(url) {
        const { handle } = await own.askTab(first, "POST", "/window/new", { type: "window" });
        const page = pageOf(own, handle);
        await page.go(url);
        return page;
      },
      async close() {
        await end(group);
        forget();
      },
    };
  } catch (error) {
    await end(group);
    forget();
    error.message += `\n${group.said()}`;
    throw error;
  }
};

export const webkit = {
  name: "WebKitGTK",
  /** Whether an IndexedDB transaction that begins as a page is left is committed. */
  keepsOnLeaving: false,
  async start({ profile = mkdtempSync(join(tmpdir(), "headwater-test-")), kept } = {}) {
    if (kept) return startPlain(miniBrowser(), await environment(profile), profile);
    return startDriven(profile, []);
  },
  async stop() {
    if (screen) await end(screen);
    screen = undefined;
  },
};
