// The demo page, as a visitor uses it.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import {eventually} from "../harness/process.js";
import {Server} from "../harness/server.js";
import {visit} from "../harness/visit.js";

export function demo(world) {
  describe("demo page", () => {
    let server;
    before(async () => {
      server = await Server.start(world.mode, {
        REDIS_URL: world.redis.url, CLIENT_PUBLISH: "true", HEARTBEAT_INTERVAL: "300ms", DRAIN_TIME: "200ms",
      });
    });
    after(() => server?.terminate());

    it("says what it is connected to", async t => {
      const page = await visit(t, world.browser, server.page);
      await page.has("#state", "connected");
      assert.equal(await page.text("#mode"), world.mode);
      assert.deepEqual(page.faults, []);
      assert.deepEqual([...page.hosts], [new URL(server.page).host]);
    });

    it("shows what is published to Redis", async t => {
      const page = await visit(t, world.browser, server.page);
      await page.subscribed("news");
      await world.redis.publish(["news", '{"hello":"world"}'], ["news", "plain <b>text</b>"]);
      await page.has("#feed li:nth-child(1) pre", "plain <b>text</b>");
      await page.has("#feed li:nth-child(2) pre", '{"hello":"world"}');
      await page.has("#feed li:nth-child(1) .name", "news");
      await page.has("#total", "2");
      assert.deepEqual(page.faults, []);
    });

    it("subscribes, publishes and measures the way there and back", async t => {
      const page = await visit(t, world.browser, server.page);
      await page.subscribed("news");
      await page.fill("#channel", "chat");
      await page.click("#subscribe button");
      await page.subscribed("chat");
      await page.fill("#target", "chat");
      await page.fill("#data", '{"from": "the page"}');
      await page.click("#publish button");
      await page.has("#feed li:nth-child(1) pre", '{"from":"the page"}');
      await page.has("#latency", /^[\d.]+$/);
      await page.has("#rtt", /^[\d.]+$/);
      await page.fill("#data", "plain words");
      await page.click("#publish button");
      await page.has("#feed li:nth-child(1) pre", "plain words");
      assert.equal(await page.text("#fault"), "");
    });

    it("leaves a channel", async t => {
      const page = await visit(t, world.browser, server.page + "#here&gone");
      await page.subscribed("here");
      await page.subscribed("gone");
      await page.click('[aria-label="Unsubscribe from gone"]');
      await eventually("the channel is left", async () => !(await page.text("#channels")).includes("gone"));
      await eventually("the server has left it", async () => (await server.api("info", {})).nodes[0].num_subs === 1);
      await world.redis.publish(["gone", "1"], ["here", "2"]);
      await page.has("#feed li:nth-child(1) pre", "2");
      await page.has("#total", "1");
    });

    it("shows the rate", async t => {
      const page = await visit(t, world.browser, server.page + "#rate");
      await page.subscribed("rate");
      await world.redis.publish(...Array.from({length: 500}, (_, i) => ["rate", String(i)]));
      await page.has("#rate", /^[1-9]/);
      await page.has("#total", "500");
      await page.has("#feed li:nth-child(1) pre", "499");
      assert.ok(await page.evaluate(() => document.querySelectorAll("#feed li").length) <= 200);
    });

    it("stops and empties the list when asked to", async t => {
      const page = await visit(t, world.browser, server.page + "#pause");
      await page.subscribed("pause");
      await world.redis.publish(["pause", '"seen"']);
      await page.has("#feed li pre", "seen");
      await page.click("#pause");
      await world.redis.publish(["pause", '"unseen"']);
      await page.has("#total", "2");
      await page.click("#pause");
      await world.redis.publish(["pause", '"seen again"']);
      await page.has("#feed li:nth-child(1) pre", "seen again");
      await page.has("#feed li:nth-child(2) pre", "seen");
      await page.click("#clear");
      await page.has("#total", "0");
      assert.equal(await page.evaluate(() => document.querySelectorAll("#feed li").length), 0);
    });

    it("tells of a Redis that went away, and goes on", async t => {
      const page = await visit(t, world.browser, server.page + "#gap");
      await page.subscribed("gap");
      await world.redis.kill();
      await world.redis.start();
      await page.has("#feed", /gap: subscription ended by the server: insufficient state/);
      await page.subscribed("gap");
      await world.redis.publish(["gap", '"back"']);
      await page.has("#feed li:nth-child(1) pre", "back");
      await page.has("#state", "connected");
    });

    it("comes back after the server was restarted", async t => {
      const page = await visit(t, world.browser, server.page + "#restart");
      await page.subscribed("restart");
      await server.terminate();
      await page.has("#state", /retrying|connecting/);
      await server.start();
      await page.has("#state", "connected");
      await page.subscribed("restart");
      await world.redis.publish(["restart", '"back"']);
      await page.has("#feed li:nth-child(1) pre", "back");
    });

    it("has no publish form where clients may not publish, and the command line always", async t => {
      const closed = await Server.start(world.mode, {REDIS_URL: world.redis.url});
      t.after(() => closed.terminate());
      const page = await visit(t, world.browser, closed.page);
      await page.has("#state", "connected");
      assert.equal(await page.evaluate(() => document.querySelector("#publish")), null);
      assert.match(await page.text("body"), /redis-cli publish news '\{"hello":"world"\}'/);
    });

    for (const [device, width, height] of [["phone", 360, 740], ["small phone", 320, 568], ["tablet", 768, 1024], ["desktop", 1280, 800]]) {
      it("fits a " + device, async t => {
        const long = "a-channel-with-a-name-that-never-ends-".repeat(5);
        const page = await visit(t, world.browser, server.page + "#news&" + long, {width, height});
        await page.subscribed(long);
        await world.redis.publish([long, JSON.stringify({words: "nobreak".repeat(80)})], ["news", "x".repeat(2000)]);
        await page.has("#total", "2");
        const {wide, room} = await page.evaluate(() => ({wide: document.scrollingElement.scrollWidth, room: innerWidth}));
        assert.ok(wide <= room, "the page is " + wide + " wide, the screen " + room);
      });
    }
  });
}
