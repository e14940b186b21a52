// Processes that tests start: each is stopped with the tests, however they end.
import {spawn} from "node:child_process";
import {createServer} from "node:net";

const running = new Set();
process.on("exit", () => { for (const child of running) child.kill("SIGKILL"); });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** run starts a program; what it prints is kept in output, exited gets its code or signal. */
export function run(command, args, env = process.env) {
  const child = spawn(command, args, {env, stdio: ["ignore", "pipe", "pipe"]});
  const started = {child, output: ""};
  running.add(child);
  for (const stream of [child.stdout, child.stderr]) stream.on("data", text => { started.output += text; });
  started.exited = new Promise(resolve => {
    child.on("error", error => { running.delete(child); resolve(error.message); });
    child.on("close", (code, signal) => { running.delete(child); resolve(code ?? signal); });
  });
  return started;
}

/** freePort returns a port of 127.0.0.1 that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const {port} = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** patience is how long a test waits for something that must happen, in ms. */
export const patience = 120_000;

/** eventually polls until condition returns something true, and returns that. */
export async function eventually(what, condition) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error("not within " + patience / 1000 + " s: " + what);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}
