// The fallbacks over plain HTTP: a browser's own EventSource, and fetch.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import {eventually} from "../harness/process.js";
import {Server} from "../harness/server.js";

export function streams(world) {
  describe("streams over HTTP", () => {
    let server;
    const start = env => Server.start(world.mode, {
      REDIS_URL: world.redis.url, HEARTBEAT_INTERVAL: "300ms", DRAIN_TIME: "200ms", ...env,
    });
    before(async () => { server = await start(); });
    after(() => server?.terminate());

    // source opens an EventSource on a page from origin, and returns what it has
    // seen so far, whenever asked.
    const source = async (t, origin, address, options) => {
      const page = await world.browser.context.newPage();
      t.after(() => page.close());
      await page.goto(origin + "healthz");
      await page.evaluate(([address, options]) => {
        const seen = window.seen = {opened: 0, messages: [], gaps: [], ends: [], errors: 0};
        const source = window.source = new EventSource(address, options);
        source.onopen = () => seen.opened++;
        source.onerror = () => seen.errors++;
        source.onmessage = event => seen.messages.push(event.data);
        source.addEventListener("gap", event => seen.gaps.push(event.data));
        source.addEventListener("disconnect", event => seen.ends.push(JSON.parse(event.data)));
      }, [address, options]);
      return () => page.evaluate(() => ({...window.seen, state: window.source.readyState}));
    };
    const opened = (seen, times) => eventually("the EventSource is open", async () => (await seen()).opened === times);
    const received = async (seen, messages) => {
      await eventually("the messages have come", async () => (await seen()).messages.length >= messages.length);
      assert.deepEqual((await seen()).messages, messages);
    };

    it("EventSource receives each message once and in order", async t => {
      const seen = await source(t, server.page, "/sse?channel=es-a&channel=es-b");
      await opened(seen, 1);
      const messages = Array.from({length: 300}, (_, i) => `{"n":${i}}`);
      await world.redis.publish(...messages.map((message, i) => [i % 2 ? "es-b" : "es-a", message]), ["es-a", "two\nlines: ü"]);
      // Only within a channel is there an order.
      await eventually("the messages have come", async () => (await seen()).messages.length === messages.length + 1);
      const came = (await seen()).messages;
      for (const odd of [0, 1]) {
        assert.deepEqual(came.filter(m => m[0] === "{" && JSON.parse(m).n % 2 === odd), messages.filter((_, i) => i % 2 === odd));
      }
      assert.ok(came.includes("two\nlines: ü"));
      assert.equal((await seen()).errors, 0);
    });

    it("EventSource is told of a gap, and goes on", async t => {
      const seen = await source(t, server.page, "/sse?channel=es-gap");
      await opened(seen, 1);
      await world.redis.kill();
      await world.redis.start();
      await eventually("the gap is told", async () => (await seen()).gaps.length === 1);
      assert.deepEqual((await seen()).gaps, ["es-gap"]);
      await world.redis.publish(["es-gap", "back"]);
      await received(seen, ["back"]);
      const {opened: times, errors} = await seen();
      assert.deepEqual([times, errors], [1, 0]);
    });

    it("EventSource comes back after a restart", async t => {
      const own = await start();
      const seen = await source(t, own.page, "/sse?channel=es-restart");
      await opened(seen, 1);
      await own.terminate();
      await eventually("the end is told", async () => (await seen()).ends.length === 1);
      assert.deepEqual((await seen()).ends, [{code: 3001, reason: "shutdown"}]);
      await own.start();
      t.after(() => own.terminate());
      await opened(seen, 2);
      await world.redis.publish(["es-restart", "back"]);
      await received(seen, ["back"]);
    });

    it("EventSource is let in from the origins that are allowed, and no others", async t => {
      const other = await start({ALLOWED_ORIGINS: server.page.slice(0, -1)});
      t.after(() => other.terminate());
      for (const withCredentials of [false, true]) {
        const seen = await source(t, server.page, other.page + "sse?channel=es-origin", {withCredentials});
        await opened(seen, 1);
        await world.redis.publish(["es-origin", "shared"]);
        await received(seen, ["shared"]);
      }
      const refused = await source(t, other.page.replace("127.0.0.1", "localhost"), server.page + "sse?channel=es-origin");
      // A refusal is final: EventSource does not try again.
      await eventually("the EventSource is closed", async () => (await refused()).state === 2);
      assert.equal((await refused()).opened, 0);
    });

    it("fetch reads a stream of lines up to its end", async () => {
      const own = await start();
      const response = await fetch(own.page + "stream?channel=lines");
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "application/x-ndjson");
      const messages = Array.from({length: 300}, (_, i) => ({n: i, text: "ü\n" + "x".repeat(i)}));
      await world.redis.publish(...messages.map(message => ["lines", JSON.stringify(message)]), ["lines", "no JSON"]);
      let text = "";
      const decoder = new TextDecoder();
      for await (const chunk of response.body) {
        const before = text;
        text += decoder.decode(chunk, {stream: true});
        if (!before.includes("no JSON") && text.includes("no JSON")) own.draining = own.terminate();
      }
      await own.draining;
      assert.deepEqual(text.split("\n").filter(line => line).map(line => JSON.parse(line)), [...messages, "no JSON"]);
    });
  });
}
