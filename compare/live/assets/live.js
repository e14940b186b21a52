"use strict";

const variants = ["idiomatic", "optimized"];

const chartSpecs = [
  { title: "Memory", unit: "of the process", pick: (f) => f.pss, show: format.bytes },
  { title: "CPU", unit: "100 % is one CPU", pick: (f) => f.cpu, show: format.percent },
  { title: "Delivered", unit: "messages a second", pick: (f) => f.deliveries, show: format.whole },
  { title: "Latency", unit: "99 of 100 arrive within", pick: (f) => f.latency_now?.p99, show: format.ms },
  { title: "Goroutines", unit: "", pick: (f) => f.goroutines, show: format.whole },
  { title: "Garbage collection", unit: "share of that CPU", pick: (f) => f.gc_share, show: format.percent },
];

const heroes = {
  memory: { noun: "memory", pick: (f) => f.per_connection, show: format.bytes },
  cpu: { noun: "CPU", pick: (f) => f.cpu_per_delivery, show: format.micros },
  latency: { less: "faster", more: "slower", pick: (f) => f.latency?.p99, show: format.ms, time: true },
  goroutines: { less: "fewer", noun: "goroutines", pick: (f) => f.goroutines, show: format.whole },
};

// name, explanation, value, how it is written; compare: worth a ratio; alarm:
// anything above zero is bad.
const rows = [
  { id: "connections", name: "Connections", note: "subscribed", pick: (f) => f.connections, show: format.whole },
  { id: "deliveries", name: "Deliveries", note: "messages a second", pick: (f) => f.deliveries, show: format.whole },
  { id: "traffic", name: "Traffic to clients", note: "a second", pick: (f) => f.traffic, show: format.bytes },
  { id: "pss", name: "Memory", note: "of the process, PSS", pick: (f) => f.pss, show: format.bytes, compare: true },
  { id: "rss", name: "Resident memory", note: "RSS, shared pages in full", pick: (f) => f.rss, show: format.bytes, compare: true },
  { id: "per_connection", name: "Memory for each connection", note: "above the empty server", pick: (f) => f.per_connection, show: format.bytes, compare: true },
  { id: "heap", name: "Go heap", note: "in use", pick: (f) => f.heap, show: format.bytes, compare: true },
  { id: "stacks", name: "Goroutine stacks", note: "in use", pick: (f) => f.stacks, show: format.bytes, compare: true },
  { id: "goroutines", name: "Goroutines", note: "", pick: (f) => f.goroutines, show: format.whole, compare: true },
  { id: "cpu", name: "CPU", note: "100 % is one CPU", pick: (f) => f.cpu, show: format.percent, compare: true },
  { id: "cpu_per_delivery", name: "CPU for a delivery", note: "last 10 seconds", pick: (f) => f.cpu_per_delivery, show: format.micros, compare: true },
  { id: "p50", name: "Latency, half arrive within", note: "last 10 seconds", pick: (f) => f.latency?.p50, show: format.ms, compare: true },
  { id: "p99", name: "Latency, 99 of 100 arrive within", note: "last 10 seconds", pick: (f) => f.latency?.p99, show: format.ms, compare: true },
  { id: "max", name: "Latency, the slowest", note: "last 10 seconds", pick: (f) => f.latency?.max, show: format.ms, compare: true },
  { id: "gc_share", name: "Garbage collection", note: "share of its CPU, last 30 seconds", pick: (f) => f.gc_share, show: format.percent },
  { id: "gc_pause", name: "Longest pause of the collector", note: "of the last 256", pick: (f) => f.gc_pause, show: format.ms },
  { id: "lost", name: "Lost messages", note: "since the start", pick: (f) => f.lost, show: format.whole, alarm: true },
  { id: "disordered", name: "Out of order or twice", note: "since the start", pick: (f) => f.disordered, show: format.whole, alarm: true },
  { id: "ended", name: "Cut off or refused by the server", note: "connections, since the start", pick: (f) => f.ended + f.refused, show: format.whole, alarm: true },
  { id: "load_busy", name: "Load process busy", note: "above 90 % it is the limit", pick: (f) => f.load_busy * 100, show: format.percent },
];

class Page {
  constructor() {
    this.body = document.body;
    this.banner = document.getElementById("banner");
    this.controls = new Controls();
    this.charts = new Charts(document.getElementById("charts"), variants, chartSpecs);
    this.buildHeroes();
    this.buildTable();
    this.paused = false;
    const pause = document.getElementById("pause");
    pause.addEventListener("click", () => {
      this.paused = !this.paused;
      pause.setAttribute("aria-pressed", String(this.paused));
      pause.textContent = this.paused ? "Go on" : "Pause";
      if (!this.paused) this.draw();
    });
    this.source = new EventSource("events");
    this.source.addEventListener("hello", (e) => this.hello(JSON.parse(e.data)));
    this.source.addEventListener("sample", (e) => this.sample(JSON.parse(e.data)));
    this.source.addEventListener("ended", (e) => this.ended(JSON.parse(e.data)));
    this.source.addEventListener("error", () => this.silent());
    setInterval(() => this.watch(), 1000);
  }

  buildHeroes() {
    this.heroes = Object.entries(heroes).map(([id, spec]) => {
      const card = document.querySelector(`[data-hero="${id}"]`);
      const bars = variants.map((variant) => {
        const bar = element("div", { className: "bar" });
        bar.dataset.variant = variant;
        const value = element("b", {}, format.dash);
        const fill = element("div", { className: "fill" });
        bar.append(element("span", {}, variant), value, element("div", { className: "track" }, fill));
        card.querySelector(".bars").append(bar);
        return { value, fill };
      });
      return { spec, ratio: card.querySelector(".ratio"), bars };
    });
  }

  buildTable() {
    const body = document.querySelector("#figures tbody");
    this.cells = rows.map((row) => {
      const tr = element("tr", {});
      tr.dataset.figure = row.id;
      const head = element("th", { scope: "row" }, row.name);
      if (row.note) head.append(element("small", {}, row.note));
      const values = variants.map((variant) => {
        const td = element("td", {}, format.dash);
        td.dataset.variant = variant;
        return td;
      });
      const difference = element("td", { className: "difference" });
      tr.append(head, ...values, difference);
      body.append(tr);
      return { row, values, difference };
    });
  }

  hello(h) {
    this.started = h.started;
    this.controls.bound(h.bounds, h.settings);
    document.getElementById("placing").textContent = h.placing;
    const redis = document.getElementById("redis");
    redis.textContent = h.redis;
    redis.hidden = false;
    this.charts.clear();
    for (const s of h.history) this.charts.add(s);
    this.latest = h.history.at(-1);
    this.heard = Date.now();
    this.setState("running", "live");
    this.tell("");
    if (this.latest) this.draw();
  }

  sample(s) {
    this.heard = Date.now();
    if (this.body.dataset.state === "lost") {
      this.setState("running", "live");
      this.tell("");
    }
    this.latest = s;
    this.charts.add(s);
    this.controls.show(s.settings);
    if (!this.paused) this.draw();
  }

  ended(e) {
    this.source.close();
    this.over = true;
    this.setState("ended", "ended");
    if (e.variant >= 0) this.health(e.variant, "has died");
    this.tell(`${e.variant >= 0 ? `The ${variants[e.variant]} variant has died: ` : ""}${e.reason}${this.since()}`);
  }

  // silent is called when the stream breaks; the browser tries again by itself.
  silent() {
    if (this.over) return;
    this.setState("lost", "no connection");
    this.tell(`compare does not answer; trying again.${this.since()}`);
  }

  // watch notices a stream that is open but says nothing.
  watch() {
    if (this.started && !this.over && this.body.dataset.state === "running") {
      const uptime = document.getElementById("uptime");
      uptime.textContent = `running ${format.clock((Date.now() - this.started) / 1000)}`;
      uptime.hidden = false;
      if (Date.now() - this.heard > 4000) {
        this.setState("lost", "no figures");
        this.tell(`No figures arrive.${this.since()}`);
      }
    }
  }

  since() {
    return this.latest ? ` What you see is of ${new Date(this.latest.time).toLocaleTimeString("en-GB")}.` : "";
  }

  setState(state, text) {
    this.body.dataset.state = state;
    document.getElementById("state").textContent = text;
  }

  tell(text) {
    if (this.banner.textContent !== text) this.banner.textContent = text;
    this.banner.hidden = text === "";
  }

  health(variant, text) {
    const node = document.querySelector(`.variant[data-variant="${variants[variant]}"] [data-health]`);
    if (node.textContent !== text) node.textContent = text;
  }

  draw() {
    const figures = this.latest.variants.map((f) => (f.fault ? null : f));
    this.latest.variants.forEach((f, i) => {
      this.health(i, f.fault ?? "");
    });
    for (const hero of this.heroes) this.drawHero(hero, figures);
    for (const cell of this.cells) this.drawRow(cell, figures);
    this.charts.draw();
  }

  drawHero({ spec, ratio, bars }, figures) {
    const values = figures.map((f) => (f ? spec.pick(f) : null));
    const most = Math.max(...values.filter(format.known), 0);
    bars.forEach(({ value, fill }, i) => {
      value.textContent = spec.show(values[i]);
      fill.style.width = format.known(values[i]) && most > 0 ? `${Math.max((100 * values[i]) / most, 0.8)}%` : "0";
    });
    const r = format.ratio(values[0], values[1]);
    ratio.className = `ratio${r && r.way !== "same" ? (r.way === "less" ? " better" : " worse") : ""}`;
    if (!r) ratio.textContent = format.dash;
    else if (r.way === "same") ratio.textContent = "about the same";
    else ratio.replaceChildren(element("strong", {}, r.size), `${spec[r.way] ?? r.way}${spec.noun ? ` ${spec.noun}` : ""}`);
  }

  drawRow({ row, values, difference }, figures) {
    const v = figures.map((f) => (f ? row.pick(f) : null));
    v.forEach((value, i) => {
      values[i].textContent = row.show(value);
      values[i].classList.toggle("alarm", Boolean(row.alarm) && value > 0);
    });
    if (!row.compare) return;
    const r = format.ratio(v[0], v[1]);
    difference.textContent = !r ? "" : r.way === "same" ? "the same" : `${r.size} ${r.way}`;
  }
}

const page = new Page();
