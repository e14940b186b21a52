// A visit to the demo page in a tab of its own.
import {patience} from "./process.js";

/**
 * visit opens address and returns what a test needs of the page: faults are its
 * errors, hosts all it talked to; has and subscribed wait for what it shows. The
 * tab is closed after the test.
 */
export async function visit(t, browser, address, size = {width: 1280, height: 800}) {
  const page = await browser.context.newPage();
  t.after(() => page.close());
  page.setDefaultTimeout(patience);
  const faults = [], hosts = new Set(), exchange = [];
  page.on("pageerror", error => faults.push(error.message));
  page.on("console", message => { if (message.type() === "error") faults.push(message.text()); });
  page.on("request", request => { if (!request.url().startsWith("data:")) hosts.add(new URL(request.url()).host); });
  page.on("websocket", socket => {
    hosts.add(new URL(socket.url()).host);
    exchange.push("open");
    socket.on("framesent", ({payload}) => exchange.push("-> " + payload));
    socket.on("framereceived", ({payload}) => exchange.push("<- " + payload));
    socket.on("socketerror", error => exchange.push("error " + error));
    socket.on("close", () => exchange.push("close"));
  });
  await page.setViewportSize(size);
  await page.goto(address);
  const text = selector => page.textContent(selector);
  // wait polls the page and fails with what it shows, and what came over the wire.
  const wait = async (what, condition, argument) => {
    try {
      await page.waitForFunction(condition, argument, {polling: 50});
    } catch (error) {
      throw new Error("the page should show " + what + " (" + error.message.split("\n")[0] + "), it shows:\n" +
        await page.innerText("body") + "\nexchange:\n" + exchange.slice(-20).map(line => line.slice(0, 300)).join("\n"));
    }
  };
  const has = (selector, wanted) => wait(selector + ": " + wanted, ([selector, text, source]) => {
    const shown = document.querySelector(selector)?.textContent.trim();
    return shown !== undefined && (source ? new RegExp(source).test(shown) : shown === text);
  }, [selector, wanted, wanted.source]);
  return {
    page, faults, hosts, text, has,
    evaluate: (...args) => page.evaluate(...args),
    fill: (...args) => page.fill(...args),
    click: (...args) => page.click(...args),
    subscribed: channel => wait("subscribed to " + channel, channel => [...document.querySelectorAll("#channels li")].some(item =>
      item.dataset.state === "subscribed" && item.querySelector("span").textContent === channel), channel),
  };
}
