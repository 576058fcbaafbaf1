// The large picture: the original and one budget in one frame, by one of four views.

const VIEWS = {
  wipe: "Wipe: original | tokens",
  flip: "Tokens alone (hold Space: original)",
  difference: "Difference to the original",
  change: "What the last doubling changed",
};

/** What the views of a payload are called. */
function viewTexts(payload) {
  const own = payload.compare || payload.views;
  return own ? { ...VIEWS, ...own } : VIEWS;
}

class Stage {
  constructor(player) {
    this.player = player;
    this.canvas = h("canvas", { class: "stage", tabindex: 0, role: "img" });
    this.wipe = h("input", {
      class: "wipe", type: "range", min: 0, max: 100, value: 50,
      "aria-label": "Wipe between the original and the reconstruction",
      oninput: () => player.set({ wipe: Number(this.wipe.value) / 100 }),
    });
    this.legend = make("div", "legend");
    this.node = h("div", { class: "stage-box" }, this.canvas, this.wipe, this.legend);
    this._listen();
  }

  show(payload) {
    this.canvas.width = this.canvas.height = payload.size * 4;
  }

  update(k, quality) {
    const { state, payload } = this.player;
    const result = this.player.chosen();
    const below = result && budgetBelow(payload.registers, result.k);
    const heatView = state.view === "difference" || state.view === "change";
    this.wipe.hidden = state.view !== "wipe";
    this.legend.hidden = !heatView;
    const texts = viewTexts(payload);
    const pair = texts === VIEWS ? "original against tokens" : texts.difference;
    const compared = state.view === "change" && below !== null ? `k = ${below} against k = ${result.k}` : pair;
    this.legend.textContent = heatView ? `${compared}; black 0 to white ${DIFF_MAX} of 255 levels, the same scale for every k` : "";
    this.canvas.setAttribute("aria-label", payload.compare ? texts[state.view] : `${texts[state.view]}; ${quality}`);
  }

  draw() {
    const { state, payload, sprites } = this.player;
    const result = this.player.chosen();
    smoothing(this.canvas, state.pixels);
    const drawSource = () => sprites.drawFrame(this.canvas, payload.source, payload.numFrames, state.frame);
    if (!result || state.flipped) return drawSource();
    if (state.view === "difference" || state.view === "change") return this._drawHeat(result);
    sprites.drawFrame(this.canvas, result.sprite, result.frames, state.frame);
    if (state.view === "wipe") this._drawLeft(drawSource);
  }

  /** What `drawSource` paints, left of the wipe's edge. */
  _drawLeft(drawSource) {
    const context = this.canvas.getContext("2d");
    const edge = Math.round(this.player.state.wipe * this.canvas.width);
    context.save();
    context.beginPath();
    context.rect(0, 0, edge, this.canvas.height);
    context.clip();
    drawSource();
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(edge - 1, 0, 2, this.canvas.height);
  }

  _drawHeat(result) {
    const { state, payload, sprites } = this.player;
    const below = budgetBelow(payload.registers, result.k);
    const other = state.view === "difference" || below === null ? payload.source : atBudget(payload.registers, below).sprite;
    const a = sprites.pixels(result.sprite, state.frame);
    const b = a && sprites.pixels(other, state.frame);
    if (b) sprites.drawPixels(this.canvas, heatmap(a, b));
  }

  /** The pointer drags the wipe; in the other views it shows the original while it is down. */
  _listen() {
    const { canvas, player } = this;
    let dragging = false;
    const dragTo = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      this.wipe.value = share * 100;
      player.set({ wipe: share });
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (player.state.view !== "wipe") return player.set({ flipped: true });
      dragging = true;
      canvas.setPointerCapture(event.pointerId);
      dragTo(event);
    });
    canvas.addEventListener("pointermove", (event) => dragging && dragTo(event));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      canvas.addEventListener(name, () => {
        dragging = false;
        if (player.state.flipped) player.set({ flipped: false });
      });
    }
  }
}

/** Radio buttons of the views. */
class ViewPicker {
  constructor(player) {
    this.node = h("div", { class: "views", role: "radiogroup", "aria-label": "View" });
    for (const [value, text] of Object.entries(VIEWS)) {
      const checked = value === player.state.view;
      const radio = h("input", { type: "radio", name: `player-view-${player.uid}`, value, checked, onchange: () => player.set({ view: value }) });
      this.node.append(h("label", { "data-view": value }, radio, make("span", "", text)));
    }
  }

  show(payload) {
    for (const label of this.node.children) {
      const text = (payload.compare || viewTexts(payload))[label.dataset.view];
      label.hidden = !text;
      if (text) label.lastChild.textContent = text;
    }
  }
}
