// What an application does with an SDK while nothing goes wrong.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import {kinds, makeClient} from "../harness/clients.js";
import {Server} from "../harness/server.js";

const payloads = [
  '{"hello":"world"}', '{"n":1.5,"deep":{"list":[1,"two",null,true]}}', '[]', '"text in JSON"', '42', 'null', 'true',
  'plain text', 'not { json', 'Grüße, 世界, 👋 "quoted" \\ and\ttab', '{"spread":\n  "over",\r\n  "lines":2}',
  JSON.stringify({long: "x".repeat(100_000)}),
];
// What an application gets for a payload: JSON as JSON, anything else as text.
const meaning = payload => { try { return JSON.parse(payload); } catch { return payload; } };

export function client(world) {
  describe("client", {concurrency: 5}, () => {
    let server, closed;
    before(async () => {
      const env = {REDIS_URL: world.redis.url, ALLOWED_ORIGINS: world.browser.origin, PING_INTERVAL: "10s", PONG_TIMEOUT: "9900ms"};
      [server, closed] = await Promise.all([
        Server.start(world.mode, {...env, CLIENT_PUBLISH: "true"}),
        Server.start(world.mode, env),
      ]);
    });
    after(() => Promise.all([server?.terminate(), closed?.terminate()]));

    for (const kind of kinds) {
      describe(kind.name, {concurrency: 14}, () => {
        const channel = name => kind.runtime + "-" + kind.encoding + ":" + name;
        const connect = async (t, to = server, setup = {}) => {
          const client = await makeClient(t, world.browser, kind, {url: to.url, ...setup});
          await client.connect();
          const {client: id, next} = await client.saw({event: "connected"});
          return Object.assign(client, {id, next});
        };
        const subscribe = async (client, name) => {
          const {at} = await client.status();
          await client.subscribe(name);
          return (await client.saw({event: "subscribed", channel: name}, at)).next;
        };

        it("connects, in the encoding asked for", async t => {
          const client = await connect(t);
          assert.match(client.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
          const {frames, state} = await client.status();
          assert.equal(state, "connected");
          assert.equal(frames.subprotocol, kind.encoding === "protobuf" ? "centrifuge-protobuf" : "");
          assert.equal(frames.sockets, 1);
        });

        it("receives what is published to Redis", async t => {
          const client = await connect(t), news = channel("news");
          const from = await subscribe(client, news);
          await world.redis.publish(...payloads.map(payload => [news, payload]), [news, '"end"']);
          await client.saw({event: "publication", channel: news, data: "end"}, from);
          assert.deepEqual(await client.messages(news, from), [...payloads.map(meaning), "end"]);
        });

        it("receives a burst of several channels in order", async t => {
          const client = await connect(t), names = [channel("a"), channel("b"), channel("c")];
          await client.subscribe(...names);
          await client.sawAll(names.map(channel => ({event: "subscribed", channel})));
          const burst = Array.from({length: 600}, (_, i) => i);
          await world.redis.publish(...burst.map(i => [names[i % 3], JSON.stringify({i})]));
          for (const [k, name] of names.entries()) {
            await client.saw({event: "publication", channel: name, data: {i: 597 + k}});
            assert.deepEqual(await client.messages(name), burst.filter(i => i % 3 === k).map(i => ({i})));
          }
        });

        it("publishes to clients of both encodings", async t => {
          const chat = channel("chat"), publisher = await connect(t);
          const listeners = await Promise.all(kinds.map(async other => {
            const listener = await makeClient(t, world.browser, other, {url: server.url});
            await listener.connect();
            await subscribe(listener, chat);
            return listener;
          }));
          const said = [{text: "Grüße"}, "text", 7, [1, 2]];
          for (const data of said) assert.deepEqual(await publisher.publish(chat, data), {});
          for (const listener of listeners) {
            await listener.saw({event: "publication", channel: chat, data: said.at(-1)});
            assert.deepEqual(await listener.messages(chat), said);
          }
        });

        it("may not publish where that is switched off", async t => {
          const client = await connect(t, closed);
          assert.deepEqual(await client.publish(channel("chat"), {}), {code: 103, reason: "permission denied"});
          assert.equal((await client.status()).state, "connected");
        });

        it("gets from the server API what a back end publishes", async t => {
          const client = await connect(t, closed), one = channel("one"), two = channel("two");
          await client.subscribe(one, two);
          await client.saw({event: "subscribed", channel: one});
          await client.saw({event: "subscribed", channel: two});
          await closed.api("publish", {channel: one, data: {from: "api"}});
          await closed.api("broadcast", {channels: [one, two], data: ["all"]});
          await client.saw({event: "publication", channel: one, data: ["all"]});
          await client.saw({event: "publication", channel: two, data: ["all"]});
          assert.deepEqual(await client.messages(one), [{from: "api"}, ["all"]]);
        });

        it("unsubscribes, misses what comes then, and subscribes again", async t => {
          const client = await connect(t), news = channel("left"), marks = channel("marks");
          await client.subscribe(news, marks);
          await client.saw({event: "subscribed", channel: news});
          await client.saw({event: "subscribed", channel: marks});
          await client.unsubscribe(news);
          await client.saw({event: "unsubscribed", channel: news, code: 0});
          // The SDK does not report the reply: the server is known to have left
          // the channel once a command sent after it is answered.
          await client.publish(marks, "left");
          await world.redis.publish([news, '"missed"'], [marks, '"on"']);
          await client.saw({event: "publication", channel: marks, data: "on"});
          const from = await subscribe(client, news);
          await world.redis.publish([news, '"back"']);
          await client.saw({event: "publication", channel: news, data: "back"}, from);
          assert.deepEqual(await client.messages(news), ["back"]);
        });

        it("subscribes to a hundred channels in one frame", async t => {
          const client = await connect(t);
          const names = Array.from({length: 100}, (_, i) => channel("many-" + i));
          await client.subscribe(...names);
          await client.sawAll(names.map(channel => ({event: "subscribed", channel})));
          await world.redis.publish(...names.map(name => [name, JSON.stringify(name)]));
          await client.sawAll(names.map(channel => ({event: "publication", channel, data: channel})));
        });

        it("subscribes to fifty channels, leaves them and subscribes again in one tick", async t => {
          const client = await connect(t);
          const names = Array.from({length: 50}, (_, i) => channel("mounted-" + i));
          await client.remount(...names);
          await client.sawAll(names.map(channel => ({event: "subscribed", channel})));
          for (const name of names) assert.deepEqual(await client.publish(name, {from: name}), {});
          await client.sawAll(names.map(channel => ({event: "publication", channel, data: {from: channel}})));
          const {log, subscriptions} = await client.status();
          assert.equal(Object.values(subscriptions).filter(s => s === "subscribed").length, 50);
          assert.deepEqual(log.filter(entry => entry.event === "error"), []);
          for (const name of names) assert.deepEqual(await client.messages(name), [{from: name}]);
        });

        it("is told which subscription goes too far", async t => {
          const client = await connect(t);
          const long = "x".repeat(256);
          await client.subscribe(long);
          await client.saw({event: "unsubscribed", channel: long, code: 107});
          const names = Array.from({length: 129}, (_, i) => channel("limit-" + i));
          await client.subscribe(...names);
          await client.saw({event: "unsubscribed", channel: names[128], code: 106});
          await client.sawAll(names.slice(0, 128).map(channel => ({event: "subscribed", channel})));
          const {state, subscriptions} = await client.status();
          assert.equal(state, "connected");
          assert.equal(Object.values(subscriptions).filter(s => s === "subscribed").length, 128);
        });

        it("is told what is not there", async t => {
          const client = await connect(t);
          for (const [method, ...args] of [["history", "news", {limit: 1}], ["presence", "news"], ["presenceStats", "news"], ["rpc", "method", {}]]) {
            const answer = method === "rpc" ? await client.rpc(...args) : await client.request(method, ...args);
            assert.deepEqual(answer, {code: 108, reason: "not available"}, method);
          }
          assert.equal((await client.status()).state, "connected");
        });

        it("is subscribed by its connect command", async t => {
          const one = channel("subs-1"), two = channel("subs-2");
          const client = await connect(t, server, {subs: [one, two]});
          await client.saw({event: "subscribed", channel: one});
          await client.saw({event: "subscribed", channel: two});
          await world.redis.publish([one, '{"n":1}'], [two, '{"n":2}'], [one, '{"n":3}'], [two, '"end"']);
          await client.saw({event: "publication", channel: two, data: "end"});
          assert.deepEqual(await client.messages(one), [{n: 1}, {n: 3}]);
          assert.deepEqual(await client.messages(two), [{n: 2}, "end"]);
        });

        it("answers pings and stays", async t => {
          const client = await connect(t);
          await client.saw({event: "ping", n: 2});
          assert.deepEqual(await client.publish(channel("after-pings"), {}), {});
          const {frames, log} = await client.status();
          assert.ok(frames.pongs >= 1 && frames.pongs <= frames.pings, JSON.stringify(frames));
          assert.equal(frames.sockets, 1);
          assert.deepEqual(log.filter(entry => ["error", "close"].includes(entry.event)), []);
        });

        it("comes back after it left a ping without an answer", async t => {
          const client = await connect(t, server, {mute: true});
          const {next} = await client.saw({event: "connecting", code: 3012, reason: "no pong"});
          await client.saw({event: "connected"}, next);
        });

        it("disconnects and connects again with its subscriptions", async t => {
          const client = await connect(t), news = channel("again");
          await subscribe(client, news);
          await client.disconnect();
          const {next} = await client.saw({event: "disconnected", code: 0});
          await client.connect();
          const {client: id} = await client.saw({event: "connected"}, next);
          assert.notEqual(id, client.id);
          const {next: from} = await client.saw({event: "subscribed", channel: news}, next);
          await world.redis.publish([news, '"again"']);
          await client.saw({event: "publication", channel: news, data: "again"}, from);
        });
      });
    }

    for (const encoding of ["json", "protobuf"]) {
      it("chromium, " + encoding + ": a page of another origin is kept out", async t => {
        // localhost and 127.0.0.1 are one machine, but two origins.
        const stranger = await world.browser.client(encoding, {url: server.url}, world.browser.origin.replace("127.0.0.1", "localhost"));
        t.after(() => stranger.dispose());
        await stranger.connect();
        const {next} = await stranger.saw({event: "error"});
        await stranger.saw({event: "close"}, next);
        const {log, state} = await stranger.status();
        assert.equal(state, "connecting");
        assert.equal(log.some(entry => entry.event === "connected"), false);
      });
    }
  });
}
