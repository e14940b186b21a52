// COMPRESSION=true: what SDKs send and receive is compressed, and they do not
// notice.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import WebSocket from "ws";
import {kinds, makeClient} from "../harness/clients.js";
import {Server} from "../harness/server.js";

const long = n => ({n, list: Array.from({length: 40}, (_, i) => ({id: n * 100 + i, name: "item", price: i / 4}))});

export function compression(world) {
  describe("compression", {concurrency: 2}, () => {
    let server;
    before(async () => {
      server = await Server.start(world.mode, {
        REDIS_URL: world.redis.url, ALLOWED_ORIGINS: world.browser.origin, CLIENT_PUBLISH: "true",
        COMPRESSION: "true", MAX_MESSAGE_SIZE: "4096",
      });
    });
    after(() => server?.terminate());

    for (const kind of kinds) {
      describe(kind.name, {concurrency: 4}, () => {
        const connect = async t => {
          const client = await makeClient(t, world.browser, kind, {url: server.url});
          await client.connect();
          await client.saw({event: "connected"});
          return client;
        };

        it("is negotiated", async t => {
          const {frames} = await (await connect(t)).status();
          assert.match(frames.extensions, /^permessage-deflate\b/);
        });

        it("brings long and short messages in order, and those of clients", async t => {
          const channel = kind.name + ":compressed", client = await connect(t);
          await client.subscribe(channel);
          await client.saw({event: "subscribed", channel});
          // Beside it a client that does not compress.
          const plain = new WebSocket(server.url.replace("/connection/websocket", "/ws?channel=" + encodeURIComponent(channel)),
            {perMessageDeflate: false});
          t.after(() => plain.close());
          const seen = [];
          await new Promise((resolve, reject) => plain.on("open", resolve).on("error", reject));
          assert.equal(plain.extensions, "");
          plain.on("message", data => seen.push(JSON.parse(data)));

          const sent = Array.from({length: 60}, (_, i) => i % 3 ? {n: i} : long(i));
          await world.redis.publish(...sent.map(data => [channel, JSON.stringify(data)]));
          const said = long(60);
          assert.deepEqual(await client.publish(channel, said), {});
          await world.redis.publish([channel, '"end"']);
          await client.saw({event: "publication", channel, data: "end"});
          assert.deepEqual(await client.messages(channel), [...sent, said, "end"]);
          if (seen.at(-1) !== "end") await new Promise(resolve => plain.on("message", data => { if (`${data}` === '"end"') resolve(); }));
          assert.deepEqual(seen, [...sent, said, "end"]);
        });

        it("does not let a client past the size limit: 1009", async t => {
          const client = await connect(t);
          await client.publish("big", "x".repeat(5000));
          const {code} = await client.saw({event: "close"});
          assert.equal(code, 1009);
        });
      });
    }

    it("saves most of the bytes", async t => {
      const client = await makeClient(t, world.browser, kinds[0], {url: server.url}), channel = "saved";
      await client.connect();
      await client.subscribe(channel);
      await client.saw({event: "subscribed", channel});
      await world.redis.publish([channel, JSON.stringify(long(1))]);
      await client.saw({event: "publication", channel, data: long(1)});
      const before = await server.metric("tandem_deflate_in_bytes_total"), now = await server.metric("tandem_deflate_out_bytes_total");
      assert.ok(now > 0 && now < before / 2, now + " bytes of " + before);
    });
  });
}
