// Tokens, as an application uses them with an SDK: it gets them, renews them, and
// is told what it may not.
import assert from "node:assert/strict";
import {createHmac, generateKeyPairSync, sign} from "node:crypto";
import {mkdtempSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, before, describe, it} from "node:test";
import WebSocket from "ws";
import {kinds, makeClient} from "../harness/clients.js";
import {Server} from "../harness/server.js";

const secret = "a secret of thirty-two bytes, ok";
const keys = generateKeyPairSync("ec", {namedCurve: "P-256"});
const part = value => Buffer.from(JSON.stringify(value)).toString("base64url");

// The two ways of signing: with the secret, and with a key of the set.
const signers = {
  HS256: claims => {
    const text = part({alg: "HS256", typ: "JWT"}) + "." + part(claims);
    return text + "." + createHmac("sha256", secret).update(text).digest("base64url");
  },
  ES256: claims => {
    const text = part({alg: "ES256", typ: "JWT", kid: "one"}) + "." + part(claims);
    return text + "." + sign("sha256", Buffer.from(text), {key: keys.privateKey, dsaEncoding: "ieee-p1363"}).toString("base64url");
  },
};
const seconds = n => Math.floor(Date.now() / 1000) + n;

export function tokens(world) {
  describe("tokens", {concurrency: 4}, () => {
    let server, folder;
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), "tandem-keys-"));
      const set = join(folder, "jwks.json");
      writeFileSync(set, JSON.stringify({keys: [{...keys.publicKey.export({format: "jwk"}), kid: "one", use: "sig"}]}));
      server = await Server.start(world.mode, {
        REDIS_URL: world.redis.url, ALLOWED_ORIGINS: world.browser.origin,
        TOKEN_SECRET: secret, TOKEN_JWKS_FILE: set, TOKEN_GRACE: "2s",
      });
    });
    after(async () => {
      rmSync(folder, {recursive: true, force: true});
      await server?.terminate();
    });

    for (const kind of kinds) for (const [algorithm, token] of Object.entries(signers)) {
      describe(kind.name + ", " + algorithm, {concurrency: 8}, () => {
        const channel = name => "$" + kind.name + ", " + algorithm + ": " + name;
        const user = {sub: "42"};
        const connect = async (t, setup = {}) => {
          const client = await makeClient(t, world.browser, kind, {url: server.url, ...setup});
          await client.connect();
          return client;
        };
        // stays checks that the SDK does not come back.
        const stays = async (client, code, reason) => {
          await client.saw({event: "disconnected", code, reason});
          assert.equal((await client.status()).frames.sockets, 1);
        };

        it("stays away without a token, or with one that is no good", async t => {
          await stays(await connect(t), 3500, "invalid token");
          await stays(await connect(t, {options: {token: token(user) + "x"}}), 3500, "invalid token");
        });

        it("gets a new token when the one it has is old", async t => {
          const client = await connect(t, {options: {token: token({...user, exp: seconds(-10)})}, tokens: [token(user)]});
          await client.saw({event: "error", code: 109});
          await client.saw({event: "connected"});
          await client.saw({event: "getToken", n: 1});
        });

        it("refreshes its token and stays connected", async t => {
          const client = await connect(t, {tokens: [token({...user, exp: seconds(3)}), token({...user, exp: seconds(1000)})]});
          const {next} = await client.saw({event: "connected"});
          await client.saw({event: "getToken", n: 2}, next);
          // A raw connection ends when its token does, which is when the first one of
          // the client and its grace are over for long.
          const raw = new WebSocket(server.url.replace("connection/websocket", "ws?channel=a&token=" + token({...user, exp: seconds(6)})));
          t.after(() => raw.terminate());
          assert.equal(await new Promise(resolve => raw.on("close", resolve).on("error", error => resolve(error.message))), 3005);
          await client.subscribe("public");
          await client.saw({event: "subscribed", channel: "public"}, next);
          assert.equal((await client.status()).frames.sockets, 1);
        });

        it("subscribes to a private channel, and renews that token", async t => {
          const name = channel("private");
          const client = await connect(t, {tokens: [token(user)], subTokens: {[name]: [
            token({...user, channel: name, exp: seconds(3)}), token({...user, channel: name, exp: seconds(1000)})]}});
          await client.subscribe(name);
          const {next} = await client.saw({event: "subscribed", channel: name});
          await client.saw({event: "getToken", reason: name, n: 2}, next);
          await world.redis.publish([name, '"renewed"']);
          await client.saw({event: "publication", channel: name, data: "renewed"}, next);
        });

        it("comes back to a private channel with a new token when the old one has run out", async t => {
          const name = channel("expired");
          const client = await connect(t, {tokens: [token(user)], subTokens: {[name]: [
            token({...user, channel: name, exp: seconds(-10)}), token({...user, channel: name})]}});
          await client.subscribe(name);
          await client.saw({event: "error", channel: name, code: 109});
          await client.saw({event: "subscribed", channel: name});
        });

        it("is not subscribed to a private channel without its token", async t => {
          const none = channel("none"), others = channel("another's");
          const client = await connect(t, {tokens: [token(user)], subTokens: {[others]: [token({...user, channel: none})]}});
          await client.subscribe(none, others);
          await client.saw({event: "unsubscribed", channel: none, code: 103});
          await client.saw({event: "unsubscribed", channel: others, code: 103});
          assert.equal((await client.status()).state, "connected");
        });

        it("is subscribed to the channels that its token names", async t => {
          const name = channel("server-side");
          const client = await connect(t, {tokens: [token({...user, channels: [name]})]});
          const {next} = await client.saw({event: "subscribed", channel: name});
          await world.redis.publish([name, "1"]);
          await client.saw({event: "publication", channel: name, data: 1}, next);
        });
      });
    }
  });
}
