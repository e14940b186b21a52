"use strict";

// How figures are written: three significant digits, a unit, and for what is not
// known a dash.
const format = (() => {
  const dash = "–";
  const known = (v) => typeof v === "number" && Number.isFinite(v);

  const digits = (v) => {
    const a = Math.abs(v);
    const places = a === 0 || a >= 100 ? 0 : a >= 10 ? 1 : 2;
    return v.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: places });
  };
  const whole = (v) => (known(v) ? Math.round(v).toLocaleString("en") : dash);
  const scaled = (units) => (v) => {
    if (!known(v)) return dash;
    let i = 0;
    for (; Math.abs(v) >= 999.5 && i < units.length - 1; i++) v /= 1000;
    return `${digits(v)} ${units[i]}`;
  };
  const withUnit = (unit) => (v) => (known(v) ? `${digits(v)} ${unit}` : dash);

  // ratio says how much optimized takes beside idiomatic: its verdict, such as
  // ["12×", "less"], and which way it goes.
  const ratio = (idiomatic, optimized) => {
    if (!known(idiomatic) || !known(optimized)) return null;
    if (idiomatic <= 0 || optimized <= 0) return idiomatic === optimized ? { size: "", way: "same" } : null;
    const way = idiomatic > optimized ? "less" : "more";
    const r = Math.max(idiomatic, optimized) / Math.min(idiomatic, optimized);
    if (r < 1.05) return { size: "", way: "same" };
    if (r >= 1.95) return { size: `${digits(r >= 9.95 ? Math.round(r) : Math.round(r * 10) / 10)}×`, way };
    const percent = way === "less" ? (1 - 1 / r) * 100 : (r - 1) * 100;
    return { size: `${Math.round(percent)} %`, way };
  };

  const clock = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(s / 3600);
    return (hours ? `${hours}:` : "") + `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };

  return {
    dash, known, whole, ratio, clock,
    bytes: scaled(["B", "kB", "MB", "GB"]),
    percent: withUnit("%"),
    ms: (v) => (known(v) && v < 1 ? `${digits(v * 1000)} µs` : withUnit("ms")(v)),
    micros: withUnit("µs"),
  };
})();
