// SDK clients in Node and in a Chromium page, driven through the same methods.
import {existsSync, mkdtempSync, readFileSync, rmSync} from "node:fs";
import {createServer} from "node:http";
import {createRequire} from "node:module";
import {tmpdir} from "node:os";
import {dirname, join} from "node:path";
import {chromium} from "playwright-core";
import WebSocket from "ws";
import "../probe.js";
import {patience} from "./process.js";

const require = createRequire(import.meta.url);
const sdk = {
  json: require("centrifuge").Centrifuge,
  protobuf: require("centrifuge/build/protobuf").Centrifuge,
};

/** kinds are the runtimes and encodings that every test runs with. */
export const kinds = ["node", "chromium"].flatMap(runtime =>
  ["json", "protobuf"].map(encoding => ({runtime, encoding, name: runtime + ", " + encoding})));

// Client drives one probe. Its methods are the probe's, each with a deadline.
class Client {
  constructor(call, dispose) {
    this.call = call;
    this.dispose = dispose;
    for (const method of ["connect", "disconnect", "subscribe", "unsubscribe", "remount", "publish", "rpc", "request", "inject", "status"]) {
      this[method] = (...args) => call(method, ...args);
    }
  }

  /** saw waits for an event and fails with all that was seen instead. */
  saw(pattern, from = 0) { return this.await("saw", pattern, from); }

  /** sawAll waits for several events, in any order. */
  sawAll(patterns, from = 0) { return this.await("sawAll", patterns, from); }

  async await(method, pattern, from) {
    let timer;
    const late = new Promise(resolve => { timer = setTimeout(resolve, patience); });
    const entry = await Promise.race([this.call(method, pattern, from), late]);
    clearTimeout(timer);
    if (entry) return entry;
    const {log, state} = await this.status();
    throw new Error("not seen from " + from + " on: " + JSON.stringify(pattern) + "; state " + state + ", seen:\n" +
      log.slice(-40).map((e, i) => Math.max(0, log.length - 40) + i + " " + JSON.stringify(e)).join("\n"));
  }

  /** messages are the data of a channel's publications, from entry from on. */
  async messages(channel, from = 0) {
    return (await this.status()).log.slice(from)
      .filter(entry => entry.event === "publication" && entry.channel === channel).map(entry => entry.data);
  }
}

function nodeClient(encoding, setup) {
  const probe = new globalThis.Probe(sdk[encoding], WebSocket, {...setup, protobuf: encoding === "protobuf"});
  return new Client(async (method, ...args) => probe[method](...args), async () => probe.disconnect());
}

/** Browser is a headless Chromium, and a site of its own for the pages with the SDK. */
export class Browser {
  static async start() {
    const executablePath = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
    if (!executablePath) throw new Error("Chromium is not installed: apt-get install chromium, or set CHROMIUM to its path");
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), "tandem-chromium-"));
    process.on("exit", () => rmSync(browser.profile, {recursive: true, force: true}));
    browser.context = await chromium.launchPersistentContext(browser.profile, {
      executablePath, headless: true, chromiumSandbox: false, handleSIGINT: false, handleSIGTERM: false,
      args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"],
    });
    const dist = join(dirname(require.resolve("centrifuge")), "../dist");
    const files = {
      "/json.js": readFileSync(join(dist, "centrifuge.js")),
      "/protobuf.js": readFileSync(join(dist, "centrifuge.protobuf.js")),
      "/probe.js": readFileSync(new URL("../probe.js", import.meta.url)),
    };
    browser.site = createServer(({url}, response) => {
      const page = url === "/json" || url === "/protobuf";
      response.writeHead(page || files[url] ? 200 : 404, {"Content-Type": page ? "text/html" : "text/javascript"});
      response.end(page ? "<!doctype html><title>SDK</title><script src=" + url + ".js></script><script src=/probe.js></script>" : files[url]);
    });
    await new Promise(resolve => browser.site.listen(0, "127.0.0.1", resolve));
    browser.pages = {};
    return browser;
  }

  /** origin is what the pages' Origin header says. */
  get origin() { return "http://127.0.0.1:" + this.site.address().port; }

  /** client makes an SDK client in the page of that encoding at an origin. */
  async client(encoding, setup, origin = this.origin) {
    const address = origin + "/" + encoding;
    const page = await (this.pages[address] ??= this.open(address));
    const id = await page.evaluate(setup => {
      globalThis.probes ??= [];
      return probes.push(new Probe(Centrifuge, WebSocket, setup)) - 1;
    }, {...setup, protobuf: encoding === "protobuf"});
    const call = (method, ...args) => page.evaluate(([id, method, args]) => probes[id][method](...args), [id, method, args]);
    return new Client(call, () => call("disconnect"));
  }

  async open(address) {
    const page = await this.context.newPage();
    await page.goto(address);
    return page;
  }

  async stop() {
    await this.context.close();
    this.site.closeAllConnections();
    this.site.close();
  }
}

/** makeClient makes a client of a kind; it is disconnected after the test. */
export async function makeClient(t, browser, kind, setup) {
  const client = kind.runtime === "node" ? nodeClient(kind.encoding, setup) : await browser.client(kind.encoding, setup);
  t.after(() => client.dispose());
  return client;
}
