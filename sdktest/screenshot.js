// Draws the demo page for the documentation: TANDEM_SERVER=../bin/tandem node
// screenshot.js ../docs/demo.png
import {Browser} from "./harness/clients.js";
import {Redis} from "./harness/redis.js";
import {Server} from "./harness/server.js";
import {visit} from "./harness/visit.js";

const [redis, browser] = await Promise.all([Redis.start(), Browser.start()]);
const server = await Server.start(process.env.MODE ?? "optimized", {REDIS_URL: redis.url, CLIENT_PUBLISH: "true"});
const page = await visit({after() {}}, browser, server.page + "#orders&prices&chat", {width: 1160, height: 880});
for (const channel of ["orders", "prices", "chat"]) await page.subscribed(channel);

const price = i => JSON.stringify({symbol: ["ACME", "TNDM", "WIDE"][i % 3], price: Math.round(10_000 + 500 * Math.sin(i)) / 100});
const order = i => JSON.stringify({order: 4700 + i, state: ["paid", "sent"][i % 2], total: 39.9});
for (let turn = 0; turn < 30; turn++) {
  await redis.publish(...Array.from({length: 4 + Math.round(5 * Math.abs(Math.sin(turn / 2)))}, (_, i) => ["prices", price(turn + i)]),
    ["orders", order(turn)]);
  if (turn % 4 === 1) {
    await page.fill("#target", "chat");
    await page.fill("#data", '{"from":"Ada","text":"Hello from the page"}');
    await page.click("#publish button");
  }
  await page.page.waitForTimeout(700);
}
await page.page.screenshot({path: process.argv[2] ?? "demo.png"});
await browser.stop();
await Promise.all([server.kill(), redis.kill()]);
