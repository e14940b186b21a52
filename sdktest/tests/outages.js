// Redis and the server go away and come back under clients of every kind.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import {kinds, makeClient} from "../harness/clients.js";
import {eventually} from "../harness/process.js";
import {Server} from "../harness/server.js";

export function outages(world) {
  describe("outages", () => {
    let server;
    before(async () => {
      server = await Server.start(world.mode, {
        REDIS_URL: world.redis.url, ALLOWED_ORIGINS: world.browser.origin, CLIENT_PUBLISH: "true",
        HEARTBEAT_INTERVAL: "300ms", HEARTBEAT_TIMEOUT: "2s", SUBSCRIBE_TIMEOUT: "500ms", DRAIN_TIME: "500ms",
      });
    });
    after(() => server?.terminate());

    // audience is one client of every kind, all subscribed to one channel.
    const audience = async (t, channel) => Promise.all(kinds.map(async kind => {
      const client = await makeClient(t, world.browser, kind, {url: server.url});
      await client.connect();
      await client.subscribe(channel);
      const {client: id} = await client.saw({event: "connected"});
      const {next} = await client.saw({event: "subscribed", channel});
      return Object.assign(client, {id, next, kind: kind.name});
    }));
    const everyone = (clients, check) => Promise.all(clients.map(client => check(client).catch(error => {
      throw new Error(client.kind + ": " + error.message);
    })));
    // hears publishes to Redis and sees that it arrives, once.
    const hears = async (clients, channel, data) => {
      await world.redis.publish([channel, JSON.stringify(data)]);
      await everyone(clients, async client => {
        await client.saw({event: "publication", channel, data}, client.next);
        assert.deepEqual(await client.messages(channel, client.next), [data]);
      });
    };

    it("Redis killed and started again: told with 2500, subscribed again, never disconnected", async t => {
      const channel = "gap", clients = await audience(t, channel);
      await world.redis.kill();
      await world.redis.start();
      await everyone(clients, async client => {
        const {next} = await client.saw({event: "subscribing", channel, code: 2500, reason: "insufficient state"}, client.next);
        ({next: client.next} = await client.saw({event: "subscribed", channel}, next));
      });
      await hears(clients, channel, "after the gap");
      await everyone(clients, async client => {
        const {frames, log} = await client.status();
        assert.equal(frames.sockets, 1);
        assert.equal(log.filter(entry => entry.event === "subscribing").length, 2);
      });
    });

    it("Redis killed and started again: those subscribed by their connect command come back with 3010, subscribed", async t => {
      const channel = "gap of the server's";
      const clients = await Promise.all(kinds.map(async kind => {
        const client = await makeClient(t, world.browser, kind, {url: server.url, subs: [channel]});
        await client.connect();
        const {next} = await client.saw({event: "subscribed", channel});
        return Object.assign(client, {next, kind: kind.name});
      }));
      await world.redis.kill();
      await world.redis.start();
      await everyone(clients, async client => {
        const {next} = await client.saw({event: "connecting", code: 3010, reason: "insufficient state"}, client.next);
        ({next: client.next} = await client.saw({event: "subscribed", channel}, next));
      });
      await hears(clients, channel, "after the gap");
    });

    it("Redis away while clients subscribe: they keep trying, and get there", async t => {
      const clients = await audience(t, "before");
      await world.redis.kill();
      await everyone(clients, async client => {
        await client.subscribe("away");
        await client.saw({event: "error", channel: "away", code: 100});
      });
      await world.redis.start();
      await everyone(clients, async client => {
        ({next: client.next} = await client.saw({event: "subscribed", channel: "away"}));
      });
      await hears(clients, "away", "Redis is back");
    });

    it("server killed and started again: clients come back with their subscriptions", async t => {
      const channel = "killed", clients = await audience(t, channel);
      await server.kill();
      await everyone(clients, async client => {
        ({next: client.next} = await client.saw({event: "connecting"}, client.next));
      });
      await server.start();
      await everyone(clients, async client => {
        const {client: id, next} = await client.saw({event: "connected"}, client.next);
        assert.notEqual(id, client.id);
        ({next: client.next} = await client.saw({event: "subscribed", channel}, next));
      });
      await hears(clients, channel, "after the crash");
    });

    it("server drained and started again: told with 3001, and back", async t => {
      const channel = "drained", clients = await audience(t, channel);
      await server.terminate();
      await everyone(clients, async client => {
        ({next: client.next} = await client.saw({event: "connecting", code: 3001, reason: "shutdown"}, client.next));
      });
      await server.start();
      await everyone(clients, async client => {
        const {next} = await client.saw({event: "connected"}, client.next);
        ({next: client.next} = await client.saw({event: "subscribed", channel}, next));
      });
      await hears(clients, channel, "after the drain");
    });

    it("nothing of all this is left in the server", async () => {
      await eventually("no connection is left", async () => {
        const {nodes: [node]} = await server.api("info", {});
        return node.num_clients === 0 && node.num_subs === 0;
      });
    });
  });
}
