// All tests of this folder against one mode, in one process: `MODE=optimized
// TANDEM_SERVER=../bin/tandem node suite.js`.
import {after, before, describe} from "node:test";
import {Browser} from "./harness/clients.js";
import {Redis} from "./harness/redis.js";
import {client} from "./tests/client.js";
import {codes} from "./tests/codes.js";
import {outages} from "./tests/outages.js";
import {compression} from "./tests/compression.js";
import {demo} from "./tests/demo.js";
import {streams} from "./tests/streams.js";
import {tls} from "./tests/tls.js";
import {tokens} from "./tests/tokens.js";

const mode = process.env.MODE;
if (!mode || !process.env.TANDEM_SERVER) {
  console.error("sdktest: set MODE to idiomatic or optimized, and TANDEM_SERVER to the server's binary; or run make sdktest");
  process.exit(2);
}
if (!process.env.TLS_CERT_FILE || !process.env.TLS_KEY_FILE || !process.env.NODE_EXTRA_CA_CERTS) {
  console.error("sdktest: set TLS_CERT_FILE and NODE_EXTRA_CA_CERTS to a certificate for 127.0.0.1, and TLS_KEY_FILE to its key; or run make sdktest");
  process.exit(2);
}
// go test holds the other end of standard input: when it is gone, so is this.
if (process.env.END_WITH_STDIN) process.stdin.on("close", () => process.exit(1)).resume().unref();

describe("MODE=" + mode, () => {
  const world = {mode};
  before(async () => {
    [world.redis, world.browser] = await Promise.all([Redis.start(), Browser.start()]);
  });
  after(async () => {
    await world.browser?.stop();
    await world.redis?.kill();
  });
  client(world);
  codes(world);
  compression(world);
  outages(world);
  tokens(world);
  tls(world);
  demo(world);
  streams(world);
});
