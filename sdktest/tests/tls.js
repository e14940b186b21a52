// TLS_CERT_FILE: the SDK over wss. Node trusts the test's certificate, for go test
// gives it NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import {kinds, makeClient} from "../harness/clients.js";
import {Server} from "../harness/server.js";

export function tls(world) {
  describe("TLS", () => {
    let server;
    before(async () => {
      server = await Server.start(world.mode, {
        REDIS_URL: world.redis.url, CLIENT_PUBLISH: "true",
        TLS_CERT_FILE: process.env.TLS_CERT_FILE, TLS_KEY_FILE: process.env.TLS_KEY_FILE,
      });
    });
    after(() => server?.terminate());

    for (const kind of kinds.filter(({runtime}) => runtime === "node")) {
      it(kind.name, async t => {
        const channel = kind.name + ":secure";
        const client = await makeClient(t, world.browser, kind, {url: server.url.replace(/^ws:/, "wss:")});
        await client.connect();
        await client.saw({event: "connected"});
        await client.subscribe(channel);
        await client.saw({event: "subscribed", channel});
        const sent = Array.from({length: 100}, (_, n) => ({n, text: "x".repeat(n * 50)}));
        await world.redis.publish(...sent.map(data => [channel, JSON.stringify(data)]));
        assert.deepEqual(await client.publish(channel, "end"), {});
        await client.saw({event: "publication", channel, data: "end"});
        assert.deepEqual(await client.messages(channel), [...sent, "end"]);
      });

      it(kind.name + ", without TLS", async t => {
        const client = await makeClient(t, world.browser, kind, {url: server.url});
        await client.connect();
        await client.saw({event: "error"});
      });
    }
  });
}
