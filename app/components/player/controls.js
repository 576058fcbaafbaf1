// What steers the player: playback, the slider of budgets, and the small rate-distortion chart, whose points choose one.

const SPEEDS = [0.25, 0.5, 1, 2];

class Transport {
  constructor(player) {
    this.player = player;
    const { state } = player;
    const button = (name, text, onclick) => h("button", { class: name, type: "button", text, onclick });
    this.play = button("play", "", () => player.play(!state.playing));
    this.loop = button("loop", "", () => player.set({ loop: !state.loop }));
    this.squares = button("squares", "", () => player.set({ pixels: !state.pixels }));
    this.squares.title = "Show the model's pixels as squares instead of smoothly enlarged";
    this.speed = h("select", { class: "speed", "aria-label": "Speed", onchange: () => this._changeSpeed() });
    for (const value of SPEEDS) this.speed.append(new Option(`${value}x`, value, value === 1, value === 1));
    this.ticks = h("datalist", { id: `latent-frames-${player.uid}` });
    this.scrub = h("input", {
      class: "scrub", type: "range", min: 0, value: 0, step: 1, list: this.ticks.id, "aria-label": "Frame",
      oninput: () => player.set({ playing: false, frame: Number(this.scrub.value) }),
    });
    this.where = make("span", "where");
    const [back, next] = [button("", "◀ frame", () => player.step(-1)), button("", "frame ▶", () => player.step(1))];
    this.node = h("div", { class: "transport" }, this.play, back, next, this.speed, this.loop, this.squares, this.scrub, this.ticks, this.where);
  }

  show(payload) {
    this.scrub.max = payload.numFrames - 1;
    this.ticks.replaceChildren(...latentTicks(payload.numFrames, payload.ratio).map((frame) => new Option("", frame)));
  }

  update() {
    const { state } = this.player;
    this.play.textContent = state.playing ? "❚❚ pause" : "▶ play";
    this.loop.textContent = state.loop ? "loop on" : "loop off";
    this.loop.setAttribute("aria-pressed", String(state.loop));
    this.squares.textContent = state.pixels ? "pixels on" : "pixels off";
    this.squares.setAttribute("aria-pressed", String(state.pixels));
  }

  draw() {
    const { state, payload } = this.player;
    this.scrub.value = state.frame;
    this.where.textContent = `${state.frame + 1}/${payload.numFrames}`;
  }

  _changeSpeed() {
    this.player.state.speed = Number(this.speed.value);
    this.player.play(this.player.state.playing);
  }
}

class BudgetBar {
  /** `onSeeds` is called when the same tokens are asked for from other seeds. */
  constructor(player, onSeeds) {
    this.player = player;
    this.slider = h("input", {
      class: "budget", type: "range", "aria-label": "Tokens per latent frame",
      oninput: () => player.set({ wanted: player.payload.registers[Number(this.slider.value)].k }),
    });
    this.line = make("output", "budget-line");
    this.seedsButton = h("button", { class: "more-seeds", type: "button", text: "Same tokens, other seeds", onclick: onSeeds });
    const row = h("label", { class: "budget-row" }, make("span", "", "Tokens per latent frame"), this.slider, this.line);
    this.node = h("div", { class: "budget-bar" }, row, this.seedsButton);
  }

  show(payload) {
    Object.assign(this.slider, { min: 0, max: Math.max(payload.registers.length - 1, 0), step: 1 });
  }

  update(k) {
    const { payload } = this.player;
    this.line.textContent = budgetLine(k, payload.latentFrames, payload.bitsPerToken, payload.numFrames);
    this.slider.value = payload.registers.indexOf(this.player.chosen());
  }
}

class RateChart {
  constructor(player) {
    this.player = player;
    this.node = svg("svg", {
      class: "chart", viewBox: "-34 -10 270 150", role: "group",
      "aria-label": "PSNR against tokens per latent frame; press a point to show it",
    });
  }

  update(k) {
    const { payload } = this.player;
    const measured = payload.registers.some((result) => Number.isFinite(result.psnr));
    if (!measured || payload.compare) return this.node.replaceChildren();
    const [width, height, range] = [220, 100, chartRange(payload)];
    const parts = [
      svg("line", { x1: 0, x2: width, y1: height, y2: height, class: "axis" }),
      svg("line", { x1: 0, x2: 0, y1: 0, y2: height, class: "axis" }),
      svg("text", { x: -4, y: height, class: "tick", "text-anchor": "end", text: `${range.low} dB` }),
      svg("text", { x: -4, y: 8, class: "tick", "text-anchor": "end", text: `${range.high}` }),
      svg("text", { x: width, y: height + 30, class: "tick", "text-anchor": "end", text: "tokens per latent frame" }),
    ];
    for (const [name, results] of [["grid", payload.grid], ["registers", payload.registers]]) {
      const points = chartPoints(results, range, width, height);
      parts.push(svg("polyline", { points: points.map((point) => `${point.x},${point.y}`).join(" "), class: name }));
      for (const point of points) {
        if (name === "grid") {
          parts.push(svg("circle", { cx: point.x, cy: point.y, r: 3.5, class: name }));
          continue;
        }
        parts.push(svg("text", { x: point.x, y: height + 14, class: "tick", "text-anchor": "middle", text: point.k }));
        parts.push(this._point(point, point.k === k));
      }
    }
    parts.push(svg("text", { x: 0, y: height + 30, class: "tick registers-label", text: "● registers" }));
    if (payload.grid.length) parts.push(svg("text", { x: 58, y: height + 30, class: "tick grid-label", text: "● 3D grid" }));
    this.node.replaceChildren(...parts);
  }

  _point({ k, x, y }, isChosen) {
    const dot = svg("circle", {
      cx: x, cy: y, r: isChosen ? 6 : 3.5, class: `registers${isChosen ? " chosen" : ""}`,
      tabindex: 0, role: "button", "aria-label": `Show k = ${k}`,
    });
    dot.addEventListener("click", () => this.player.set({ wanted: k }));
    dot.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      this.player.set({ wanted: k }); // draws the chart anew
      this.node.querySelector(`[aria-label="Show k = ${k}"]`).focus();
    });
    return dot;
  }
}
