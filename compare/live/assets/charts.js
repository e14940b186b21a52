"use strict";

// Charts draws one uPlot chart for each figure, both modes in each, over the
// last two minutes.
class Charts {
  static span = 120; // seconds

  // specs: [{title, unit, pick(figures), show(value)}]
  constructor(root, variants, specs) {
    this.variants = variants;
    this.specs = specs;
    this.times = [];
    this.series = specs.map(() => variants.map(() => []));
    this.charts = specs.map((spec) => this.build(root, spec));
    new ResizeObserver(() => this.resize()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  build(root, spec) {
    const card = element("article", { className: "card chart" });
    const head = element("div", { className: "head" });
    head.append(element("h2", {}, spec.title, element("small", {}, spec.unit)));
    const now = this.variants.map((variant) => {
      const value = element("span", {}, format.dash);
      const label = element("span", { className: "now" });
      label.dataset.variant = variant;
      label.append(lineSample(variant), value);
      head.append(label);
      return value;
    });
    const plot = element("div", { className: "plot" });
    plot.setAttribute("role", "img");
    card.append(head, plot);
    root.append(card);
    const chart = { spec, plot, now };
    chart.u = new uPlot(this.options(chart), [[], ...this.variants.map(() => [])], plot);
    return chart;
  }

  options(chart) {
    const ink = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);
    const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
    const axis = { stroke: ink("--soft"), font, ticks: { show: false } };
    const grid = { stroke: ink("--grid"), width: 1 };
    return {
      ...this.size(chart.plot),
      legend: { show: false },
      padding: [8, 20, 0, 0],
      cursor: { sync: { key: "live" }, drag: { x: false, y: false }, y: false, points: { size: 7 } },
      scales: {
        x: { time: false, range: (_u, _min, max) => [(max ?? 0) - Charts.span, max ?? 0] },
        y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.12 : 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 26,
          splits: (_u, _i, _min, max) => [0, 1, 2, 3, 4].map((i) => max - Charts.span + i * 30),
          values: (_u, splits) => splits.map((_, i) => ["2 min ago", "", "1 min ago", "", "now"][i]),
          align: 0 },
        { ...axis, grid, size: Charts.axisWidth, space: 34, values: (_u, splits) => splits.map((v) => chart.spec.show(v)) },
      ],
      series: [{}, ...this.variants.map((variant) => ({
        stroke: ink(`--${variant}`), width: 2.25, dash: variant === "idiomatic" ? [7, 4] : undefined,
        points: { show: false }, spanGaps: false,
      }))],
      hooks: { setCursor: [(u) => this.read(chart, u.cursor.idx)] },
    };
  }

  // axisWidth returns the room that the labels of the values need in the font that
  // the browser has.
  static axisWidth(u, labels, axis) {
    const { font, gap } = u.axes[axis];
    u.ctx.save();
    u.ctx.font = font[0]; // in device pixels
    const widest = Math.max(0, ...(labels ?? []).map((label) => u.ctx.measureText(label).width));
    u.ctx.restore();
    return Math.max(62, Math.ceil(gap + widest / devicePixelRatio) + 2);
  }

  size(plot) { return { width: Math.max(plot.clientWidth, 120), height: 150 }; }

  // read shows the values under the cursor, or the newest.
  read(chart, index) {
    const at = index ?? this.times.length - 1;
    const s = this.series[this.charts ? this.charts.indexOf(chart) : 0];
    chart.now.forEach((node, i) => { node.textContent = chart.spec.show(s?.[i]?.[at]); });
  }

  clear() {
    this.times.length = 0;
    for (const s of this.series) for (const values of s) values.length = 0;
  }

  // add takes in a sample without drawing it.
  add(sample) {
    const t = sample.time / 1000;
    const last = this.times.at(-1);
    if (last !== undefined && t <= last) return;
    if (last !== undefined && t - last > 3) this.push(last + 1, () => null); // a gap, not a line across it
    this.push(t, (spec, variant) => {
      const f = sample.variants[variant];
      const v = f.fault ? null : spec.pick(f);
      return format.known(v) ? v : null;
    });
    while (this.times.length && this.times[0] < t - Charts.span - 2) {
      this.times.shift();
      for (const s of this.series) for (const values of s) values.shift();
    }
  }

  push(t, value) {
    this.times.push(t);
    this.specs.forEach((spec, i) => this.variants.forEach((_, variant) => this.series[i][variant].push(value(spec, variant))));
  }

  draw() {
    this.charts.forEach((chart, i) => {
      chart.u.setData([this.times, ...this.series[i]]);
      this.read(chart, chart.u.cursor.idx);
      const said = this.variants.map((variant, a) => `${variant} ${chart.spec.show(this.series[i][a].at(-1))}`).join(", ");
      chart.plot.setAttribute("aria-label", `Chart of the last two minutes. ${chart.spec.title}, now: ${said}.`);
    });
  }

  resize() { for (const chart of this.charts) chart.u.setSize(this.size(chart.plot)); }
  redraw() { for (const chart of this.charts) chart.u.redraw(false, true); }
}

function element(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// lineSample is a piece of the mode's line, as the chart draws it.
function lineSample(variant) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  const line = document.createElementNS(ns, "line");
  svg.setAttribute("viewBox", "0 0 24 8");
  svg.setAttribute("aria-hidden", "true");
  const all = { x1: 1, x2: 23, y1: 4, y2: 4, stroke: "currentColor", "stroke-width": 3 };
  if (variant === "idiomatic") all["stroke-dasharray"] = "6 3";
  for (const [key, value] of Object.entries(all)) line.setAttribute(key, value);
  svg.append(line);
  return svg;
}
