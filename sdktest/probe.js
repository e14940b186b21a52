// A probe is one SDK client together with all that it reported. The same file
// runs in Node and, as a plain script, in a browser page: it leaves the class
// in globalThis.Probe and imports nothing. What goes in and out of its methods
// can be written as JSON, because a page's probe is driven from outside the page.
"use strict";

globalThis.Probe = class Probe {
  /**
   * @param sdk the Centrifuge class of the encoding wanted
   * @param socket the WebSocket class of the runtime
   * @param setup {url, protobuf, options: for the SDK, mute: drop pongs,
   *   hush: drop everything, subs: channels for the connect command,
   *   tokens: what getToken answers one after the other, the last one again,
   *   subTokens: the same for each channel}
   */
  constructor(sdk, socket, setup) {
    this.setup = setup;
    this.log = [];      // {event, channel?, ...} in the order reported
    this.waiting = [];  // {pattern, from, resolve}
    this.frames = {sockets: 0, pings: 0, pongs: 0};
    this.subscriptions = new Map();
    this.client = new sdk(setup.url, {
      websocket: this.traced(socket), minReconnectDelay: 50, maxReconnectDelay: 300,
      // A ping that is this late counts as a lost connection.
      maxServerPingDelay: 8000, ...this.getToken("client", setup.tokens), ...setup.options,
    });
    for (const event of ["connecting", "connected", "disconnected", "error",
      "subscribing", "subscribed", "unsubscribed", "publication", "message"]) {
      this.client.on(event, context => this.record(event, context));
    }
    if (setup.subs) {
      // The SDK has no option for it: it sends what it remembers of subscriptions
      // that the server made, so it is given that memory.
      this.client._serverSubs = Object.fromEntries(
        setup.subs.map(channel => [channel, {recoverable: true, offset: 0, epoch: "", subscribed: false}]));
    }
  }

  // getToken is the option by which the SDK asks for tokens.
  getToken(of, tokens) {
    if (!tokens) return {};
    let asked = 0;
    return {getToken: async () => {
      this.record("getToken", {reason: of, n: asked + 1});
      return tokens[Math.min(asked++, tokens.length - 1)];
    }};
  }

  // traced returns the runtime's WebSocket class with the frames of the protocol's
  // ping and pong counted, and, if the setup says so, answers held back.
  traced(socket) {
    const probe = this;
    const alone = data => data === "{}" || typeof data !== "string" && data.byteLength === 1 && new Uint8Array(data)[0] === 0;
    return class extends socket {
      constructor(...args) {
        super(...args);
        probe.frames.sockets++;
        probe.socket = this;
        this.addEventListener("open", () => { Object.assign(probe.frames, {subprotocol: this.protocol, extensions: this.extensions}); });
        this.addEventListener("message", ({data}) => { if (alone(data)) probe.record("ping", {n: ++probe.frames.pings}); });
        this.addEventListener("close", ({code, reason}) => probe.record("close", {code, reason}));
      }
      send(data) {
        const pong = typeof data === "string" ? data.trim() === "{}" : alone(data);
        if (pong) probe.frames.pongs++;
        if (probe.setup.hush || pong && probe.setup.mute) return;
        super.send(data);
      }
    };
  }

  record(event, context) {
    const entry = {event};
    for (const key of ["channel", "code", "reason", "client", "version", "transport", "n"]) {
      if (context[key] !== undefined) entry[key] = context[key];
    }
    if (context.error) Object.assign(entry, {code: context.error.code, reason: context.error.message});
    if (event === "publication") entry.data = this.decode(context.data);
    this.log.push(entry);
    this.waiting = this.waiting.filter(wait => !this.settle(wait));
  }

  // The protobuf build hands over bytes, which applications decode themselves.
  decode(data) {
    if (!this.setup.protobuf) return data;
    const text = new TextDecoder().decode(data);
    try { return JSON.parse(text); } catch { return text; }
  }

  encode(data) {
    return this.setup.protobuf ? new TextEncoder().encode(JSON.stringify(data)) : data;
  }

  settle({pattern, from, resolve}) {
    const at = this.log.findIndex((entry, i) => i >= from && Object.keys(pattern).every(
      key => JSON.stringify(entry[key]) === JSON.stringify(pattern[key])));
    if (at < 0) return false;
    resolve({...this.log[at], next: at + 1});
    return true;
  }

  // saw waits for the first entry, from the given one on, that has all of
  // pattern; its next is where to look on.
  saw(pattern, from = 0) {
    return new Promise(resolve => {
      const wait = {pattern, from, resolve};
      if (!this.settle(wait)) this.waiting.push(wait);
    });
  }

  // sawAll waits for several, in any order; what it resolves to is where to look on.
  async sawAll(patterns, from = 0) {
    const entries = await Promise.all(patterns.map(pattern => this.saw(pattern, from)));
    return {next: Math.max(...entries.map(({next}) => next))};
  }

  status() {
    return {
      state: this.client.state, frames: this.frames, at: this.log.length, log: this.log,
      subscriptions: Object.fromEntries([...this.subscriptions].map(([name, sub]) => [name, sub.state])),
    };
  }

  connect() { this.client.connect(); }
  disconnect() { this.client.disconnect(); }

  subscribe(...channels) {
    this.client.startBatching();
    for (const channel of channels) {
      let sub = this.subscriptions.get(channel);
      if (!sub) {
        sub = this.client.newSubscription(channel, {
          minResubscribeDelay: 50, maxResubscribeDelay: 300, ...this.getToken(channel, this.setup.subTokens?.[channel])});
        this.subscriptions.set(channel, sub);
        for (const event of ["subscribing", "subscribed", "unsubscribed", "publication", "error"]) {
          sub.on(event, context => this.record(event, {...context, channel}));
        }
      }
      sub.subscribe();
    }
    this.client.stopBatching();
  }

  unsubscribe(channel) { this.subscriptions.get(channel).unsubscribe(); }

  // remount subscribes to the channels, leaves them and subscribes again in one tick,
  // as the components of a page do that are mounted, unmounted and mounted again.
  remount(...channels) {
    this.subscribe(...channels);
    for (const channel of channels) this.unsubscribe(channel);
    for (const channel of channels) this.subscribe(channel);
  }

  // request calls a method of the client that answers, and tells the outcome.
  async request(method, ...args) {
    try {
      await this.client[method](...args);
      return {};
    } catch (error) {
      return {code: error.code, reason: error.message};
    }
  }

  publish(channel, data) { return this.request("publish", channel, this.encode(data)); }
  rpc(method, data) { return this.request("rpc", method, this.encode(data)); }

  // inject sends bytes that the SDK would never send.
  inject(text) { this.socket.send(this.setup.protobuf ? new TextEncoder().encode(text) : text); }
};
