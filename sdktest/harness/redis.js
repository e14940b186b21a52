// A real redis-server that a test can kill and start again.
import {spawn} from "node:child_process";
import {tmpdir} from "node:os";
import {eventually, freePort, run} from "./process.js";

export class Redis {
  static async start() {
    const redis = new Redis();
    redis.port = await freePort();
    await redis.start();
    return redis;
  }

  get url() { return "redis://127.0.0.1:" + this.port; }

  async start() {
    this.process = run("redis-server", ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tmpdir()]);
    await eventually("redis-server answers", async () => (await this.cli("ping")).trim() === "PONG");
  }

  /** kill ends the process as a crash does. */
  async kill() {
    this.process.child.kill("SIGKILL");
    await this.process.exited;
  }

  /** publish gives messages, each [channel, payload], to one redis-cli, in order. */
  async publish(...messages) {
    const commands = messages.map(([channel, payload]) => "PUBLISH " + quoted(channel) + " " + quoted(payload) + "\n");
    const answers = (await this.cli(commands.join(""), [])).trim().split("\n");
    if (answers.length !== messages.length || answers.some(answer => !/^\d+$/.test(answer))) {
      throw new Error("redis-cli answered: " + answers.join(" | ").slice(0, 300));
    }
  }

  cli(input, args = [input]) {
    return new Promise((resolve, reject) => {
      const child = spawn("redis-cli", ["-h", "127.0.0.1", "-p", this.port, ...args], {stdio: ["pipe", "pipe", "ignore"]});
      let output = "";
      child.stdout.on("data", text => { output += text; });
      child.on("error", reject);
      child.on("close", () => resolve(output));
      // A redis-cli that cannot connect ends before it has read.
      child.stdin.on("error", () => {});
      child.stdin.end(args.length ? "" : input);
    });
  }
}

// redis-cli reads a quoted word with escapes, so that any byte can be in it.
const quoted = text => '"' + [...Buffer.from(text)].map(b =>
  b < 0x20 || b > 0x7e || b === 0x22 || b === 0x5c ? "\\x" + b.toString(16).padStart(2, "0") : String.fromCharCode(b)).join("") + '"';
