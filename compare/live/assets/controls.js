"use strict";

// Controls are the form that changes the load. The server checks everything
// again; checking here only saves the way.
class Controls {
  static names = ["connections", "rate", "size", "channels"];
  static pause = 350; // ms without a change before it is applied

  constructor() {
    this.form = document.getElementById("settings");
    this.applied = document.getElementById("applied");
    this.sum = document.getElementById("sum");
    this.fields = new Map(Controls.names.map((name) => {
      const box = this.form.querySelector(`[data-field="${name}"]`);
      return [name, { number: box.querySelector("[type=number]"), slider: box.querySelector("[type=range]"), hint: box.querySelector(".hint") }];
    }));
    this.dirty = false;
    this.bounds = null;
    for (const [name, field] of this.fields) {
      field.number.addEventListener("input", () => this.edited(name, field.number.valueAsNumber));
      field.slider.addEventListener("input", () => {
        const v = this.fromSlider(name, Number(field.slider.value));
        field.number.value = v;
        this.edited(name, v);
      });
    }
    this.form.addEventListener("submit", (e) => { e.preventDefault(); this.apply(); });
    for (const button of document.querySelectorAll("[data-preset]")) {
      button.addEventListener("click", () => this.preset(button.dataset.preset));
    }
  }

  // bound says what is allowed; settings what applies now.
  bound(bounds, settings) {
    this.bounds = bounds;
    const units = { connections: "connections", rate: "a second, over all channels", size: "bytes", channels: "channels; each connection listens to one" };
    for (const [name, field] of this.fields) {
      const { min, max } = bounds[name];
      Object.assign(field.number, { min, max, step: 1 });
      field.hint.textContent = `${format.whole(min)} to ${format.whole(max)} ${units[name]}`;
    }
    this.dirty = false;
    this.show(settings);
  }

  // show takes over settings that someone else may have changed, unless the
  // user is at it.
  show(settings) {
    if (this.dirty) return;
    for (const [name, field] of this.fields) {
      if (field.number.valueAsNumber !== settings[name]) field.number.value = settings[name];
      this.placeSlider(name, settings[name]);
    }
    this.total();
  }

  // Sliders are finer where values are small: cubic.
  fromSlider(name, at) {
    const { min, max } = this.bounds[name];
    const v = min + (max - min) * (at / 1000) ** 3;
    const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(v, 1))) - 1);
    return Math.min(max, Math.max(min, at === 1000 ? max : Math.round(v / step) * step));
  }

  placeSlider(name, v) {
    const { min, max } = this.bounds[name];
    const { slider } = this.fields.get(name);
    const share = (Math.min(max, Math.max(min, v || 0)) - min) / (max - min);
    slider.value = Math.round(1000 * Math.cbrt(share));
    slider.setAttribute("aria-valuetext", format.whole(v));
  }

  edited(name, v) {
    if (!this.bounds) return;
    this.dirty = true;
    const { slider } = this.fields.get(name);
    if (document.activeElement !== slider) this.placeSlider(name, v);
    slider.setAttribute("aria-valuetext", format.whole(v));
    this.total();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.apply(), Controls.pause);
  }

  preset(values) {
    if (!this.bounds) return;
    values.split(",").forEach((v, i) => {
      const name = Controls.names[i];
      const { max } = this.bounds[name];
      this.fields.get(name).number.value = v === "max" ? max : Math.min(Number(v), max);
      this.placeSlider(name, this.fields.get(name).number.valueAsNumber);
    });
    this.dirty = true;
    this.total();
    this.apply();
  }

  values() {
    return Object.fromEntries(Controls.names.map((name) => [name, this.fields.get(name).number.valueAsNumber]));
  }

  deliveries(v) { return Math.trunc((v.connections * v.rate) / Math.max(v.channels, 1)); }

  total() {
    const n = this.deliveries(this.values());
    this.sum.replaceChildren(...(format.known(n)
      ? [element("b", {}, format.whole(n)), ` deliveries a second for each mode; at most ${format.whole(this.bounds.deliveries)}`]
      : [format.dash]));
  }

  // wrong returns what is wrong, by field.
  wrong(v) {
    const errors = {};
    for (const name of Controls.names) {
      const { min, max } = this.bounds[name];
      if (!Number.isInteger(v[name]) || v[name] < min || v[name] > max) {
        errors[name] = `Choose a whole number from ${format.whole(min)} to ${format.whole(max)}.`;
      }
    }
    if (!Object.keys(errors).length && this.deliveries(v) > this.bounds.deliveries) {
      errors.deliveries = `That is more than this machine is allowed: choose fewer connections or messages, or more channels.`;
    }
    return errors;
  }

  complain(errors) {
    for (const [name, field] of this.fields) {
      document.getElementById(`${name}-error`).textContent = errors[name] ?? "";
      field.number.setAttribute("aria-invalid", String(name in errors));
    }
    document.getElementById("deliveries-error").textContent = errors.deliveries ?? errors.request ?? "";
  }

  async apply() {
    clearTimeout(this.timer);
    if (!this.bounds) return;
    const wanted = this.values();
    const errors = this.wrong(wanted);
    this.complain(errors);
    this.applied.textContent = "";
    if (Object.keys(errors).length) return;
    try {
      const response = await fetch("settings", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted),
      });
      const answer = await response.json();
      if (answer.errors) return this.complain(answer.errors);
      this.applied.textContent = `Applied at ${new Date().toLocaleTimeString("en-GB")}.`;
      // what was typed meanwhile is still to be applied
      this.dirty = JSON.stringify(this.values()) !== JSON.stringify(wanted);
    } catch {
      this.complain({ request: "Not applied: compare does not answer." });
    }
  }
}
