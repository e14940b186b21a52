// A Tandem process, run as users run it.
import {eventually, freePort, run} from "./process.js";

const key = "sdktest";

export class Server {
  /** start runs the server in a mode, with these variables, until it is ready. */
  static async start(mode, env) {
    const server = new Server();
    server.port = await freePort();
    server.internal = await freePort();
    server.env = {
      MODE: mode, ADDR: "127.0.0.1:" + server.port, INTERNAL_ADDR: "127.0.0.1:" + server.internal,
      API_KEY: key, GORACE: "exitcode=66", ...env,
    };
    await server.start();
    return server;
  }

  get url() { return "ws://127.0.0.1:" + this.port + "/connection/websocket"; }
  get page() { return "http://127.0.0.1:" + this.port + "/"; }

  async start() {
    this.process = run(process.env.TANDEM_SERVER, [], this.env);
    await eventually("the server is ready", async () => {
      if (this.process.child.exitCode !== null) throw new Error("the server ended: " + this.process.output);
      try {
        return (await fetch("http://127.0.0.1:" + this.internal + "/readyz")).ok;
      } catch {
        return false;
      }
    });
  }

  /** kill ends the process as a crash does. */
  async kill() {
    this.process.child.kill("SIGKILL");
    await this.process.exited;
  }

  /** terminate drains the server and checks that it ended well. */
  async terminate() {
    this.process.child.kill("SIGTERM");
    const code = await this.process.exited;
    if (code !== 0 || this.process.output.includes("DATA RACE")) {
      throw new Error("the server ended with " + code + ":\n" + this.process.output.slice(-8000));
    }
  }

  /** metric reads one that has no labels. */
  async metric(name) {
    const text = await (await fetch("http://127.0.0.1:" + this.internal + "/metrics")).text();
    return Number(text.match(new RegExp("^" + name + " (.+)$", "m"))[1]);
  }

  async api(method, body) {
    const response = await fetch("http://127.0.0.1:" + this.internal + "/api/" + method, {
      method: "POST", headers: {"X-API-Key": key, "Content-Type": "application/json"}, body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (answer.error) throw new Error(method + ": " + answer.error.message);
    return answer.result;
  }
}
