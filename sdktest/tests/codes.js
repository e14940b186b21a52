// Close codes: below 3500 the SDK comes back, from 3500 on it stays away.
import assert from "node:assert/strict";
import {after, before, describe, it} from "node:test";
import {kinds, makeClient} from "../harness/clients.js";
import {Server} from "../harness/server.js";

const inviting = [3000, 3001, 3004, 3005, 3008, 3009, 3011, 3012, 3013];
const terminal = [3500, 3501, 3502, 3503, 3504, 3505, 3507];

export function codes(world) {
  describe("close codes", {concurrency: 4}, () => {
    let server;
    before(async () => {
      server = await Server.start(world.mode, {
        REDIS_URL: world.redis.url, ALLOWED_ORIGINS: world.browser.origin, CLIENT_PUBLISH: "true",
        HANDSHAKE_TIMEOUT: "3s", MAX_MESSAGE_SIZE: "4096",
      });
    });
    after(() => server?.terminate());

    for (const kind of kinds) {
      describe(kind.name, {concurrency: 6}, () => {
        const connect = async (t, setup = {}) => {
          const client = await makeClient(t, world.browser, kind, {url: server.url, ...setup});
          await client.connect();
          return client;
        };
        // stays checks the SDK's own word that it will not come back.
        const stays = async (client, code, reason) => {
          await client.saw({event: "disconnected", code, reason});
          const {state, frames, log} = await client.status();
          assert.equal(state, "disconnected");
          assert.equal(frames.sockets, 1, JSON.stringify(log));
        };

        it("comes back after " + inviting.join(", "), async t => {
          const client = await connect(t), news = kind.name + ":codes";
          await client.subscribe(news);
          let {client: id} = await client.saw({event: "connected"});
          let {next} = await client.saw({event: "subscribed", channel: news});
          for (const code of inviting) {
            await server.api("disconnect", {client: id, disconnect: {code, reason: "asked to"}});
            ({next} = await client.saw({event: "connecting", code}, next));
            ({client: id, next} = await client.saw({event: "connected"}, next));
            ({next} = await client.saw({event: "subscribed", channel: news}, next));
            await world.redis.publish([news, String(code)]);
            ({next} = await client.saw({event: "publication", channel: news, data: code}, next));
          }
          assert.deepEqual(await client.messages(news), inviting);
        });

        it("stays away after " + terminal.join(", "), async t => {
          for (const code of terminal) {
            const client = await connect(t);
            const {client: id} = await client.saw({event: "connected"});
            await server.api("disconnect", {client: id, disconnect: {code, reason: "asked to"}});
            await stays(client, code, "force disconnect");
          }
        });

        it("stays away when the server API names no code: 3503", async t => {
          const client = await connect(t);
          const {client: id} = await client.saw({event: "connected"});
          await server.api("disconnect", {client: id});
          await stays(client, 3503, "force disconnect");
        });

        it("stays away after a frame that is no command: 3501", async t => {
          const client = await connect(t);
          await client.saw({event: "connected"});
          await client.inject("\x7fno command");
          await stays(client, 3501, "bad request");
        });

        it("stays away when it never sent its connect command: 3502", async t => {
          const client = await connect(t, {hush: true});
          await stays(client, 3502, "stale");
        });

        it("stays away after a message over the size limit: 1009", async t => {
          const client = await connect(t);
          await client.saw({event: "connected"});
          await client.publish("big", "x".repeat(5000));
          // The SDK has a code of its own for it.
          await stays(client, 3, "message size limit exceeded");
          const {code} = await client.saw({event: "close"});
          assert.equal(code, 1009);
        });
      });
    }
  });
}
