// The row of clips that play together, the row of one budget's seeds below it, and the row of examples above.

class Panels {
  constructor(player) {
    this.player = player;
    this.node = make("div", "panels");
    this.seeds = make("div", "seeds");
  }

  /** The payload's own clips; the grid's follow the budget that is chosen. */
  show(payload, fresh) {
    if (fresh) {
      this.seeds.replaceChildren();
      delete this.player.root.dataset.seeds;
    }
    const lines = payload.sourceLines || [`${payload.numFrames} frame${payload.numFrames === 1 ? "" : "s"}, ${payload.size} px`];
    const shown = [this._panel("original", payload.sourceTitle || "Original", lines, payload.source, payload.numFrames)];
    for (const result of payload.registers) {
      if (payload.shown.includes(result.k)) {
        const figure = this._result(`k${result.k}`, result.title || `k = ${result.k}`, result);
        figure.addEventListener("click", () => this.player.set({ wanted: result.k }));
        shown.push(figure);
      }
    }
    for (const more of payload.extra || []) shown.push(this._panel(more.id, more.title, more.lines || [], more.sprite, more.frames));
    this.node.replaceChildren(...shown);
  }

  /** The grid at the tokens of the chosen budget: coarser cells, and full cells for fewer frames. */
  update(k) {
    const payload = this.player.payload;
    for (const old of this.node.querySelectorAll("[data-panel^=grid]")) old.remove();
    const onlySize = payload.grid.length === 1 ? payload.grid[0] : null; // a grid of one size has no coarser cells
    const coarser = onlySize || atBudget(payload.grid, k);
    if (coarser) {
      const more = coarser.k < k ? [`the largest grid within ${k * payload.latentFrames} tokens`] : [];
      this.node.append(this._result("grid-coarser", onlySize ? "3D grid, all its tokens" : "3D grid, coarser cells", coarser, more));
    }
    const shorter = atBudget(payload.shortGrid, k);
    if (shorter) {
      this.node.append(this._result("grid-shorter", "3D grid, fewer frames", shorter));
    } else if (payload.grid.length) {
      const cells = Math.max(...payload.grid.map((result) => result.k), payload.maxK);
      const line = `${k * payload.latentFrames} tokens do not fill one latent frame of ${cells} cells`;
      this.node.append(this._panel("grid-shorter", "3D grid, fewer frames", [line], "", 0));
    }
  }

  /** A row of one budget's seeds, until another clip is shown. */
  showSeeds(value) {
    const shown = value.seeds.map((result) =>
      this._panel(result.title.replace(" ", "-"), result.title, [`k = ${value.k}`, ...this._lines(result).slice(1)], result.sprite, result.frames),
    );
    const lines = [`deviation, ${value.meanSpread} levels on average`, `scale: black 0 to white ${DIFF_MAX}`];
    const spread = this._panel("spread", "Where they differ", lines, value.spread, value.frames);
    spread.querySelector("canvas").dataset.spread = "1";
    this.seeds.replaceChildren(...shown, spread);
    this.player.root.dataset.seeds = value.k;
  }

  draw() {
    const { sprites, state } = this.player;
    for (const row of [this.node, this.seeds]) {
      for (const canvas of row.querySelectorAll("canvas")) {
        const { sprite, frames, spread } = canvas.dataset;
        smoothing(canvas, state.pixels);
        if (!spread) {
          sprites.drawFrame(canvas, sprite, Number(frames), state.frame);
          continue;
        }
        const grey = sprites.pixels(sprite, Math.min(state.frame, Number(frames) - 1));
        if (grey) sprites.drawPixels(canvas, spreadMap(grey));
      }
    }
  }

  _result(id, title, result, more = []) {
    return this._panel(id, title, [...this._lines(result), ...more], result.sprite, result.frames);
  }

  _panel(id, title, lines, sprite, frames) {
    const canvas = h("canvas", { role: "img", "aria-label": [title, ...lines].join(", ") });
    canvas.width = canvas.height = this.player.payload.size * 3;
    Object.assign(canvas.dataset, { sprite, frames });
    const caption = h("figcaption", {}, make("b", "", title), ...lines.map((line) => make("span", "", line)));
    return h("figure", { "data-panel": id }, canvas, caption);
  }

  _lines(result) {
    if (result.lines) return result.lines;
    const lines = [`${result.tokens} tokens, ${result.bytes} bytes`, `PSNR ${result.psnr.toFixed(1)} dB`];
    const all = this.player.payload.numFrames;
    if (result.frames < all) lines.push(`${result.frames} of ${all} frames encoded`);
    return lines;
  }
}

/** Buttons of examples: each loads its payload when the pointer or the focus comes near. */
class ExampleRow {
  constructor(player, examples, load) {
    this.player = player;
    this.node = h("div", { class: "examples", role: "group", "aria-label": "Example clips" });
    this.load = load;
    this.loaded = new Map(); // name -> promise of a payload
    this.ids = new Set(examples.map((example) => example.id));
    this.left = new Set(); // clips that were left for an example: what still comes of them is not shown
    this.asked = 0; // examples load at their own pace; the one asked for last is shown
    for (const example of examples) {
      const near = () => this._fetch(example.name);
      const picture = h("img", { src: example.thumbnail, alt: example.title });
      const events = { onclick: () => this._choose(example.name), onpointerenter: near, onfocus: near };
      this.node.append(h("button", { type: "button", title: example.title, ...events }, picture));
    }
  }

  _fetch(name) {
    if (!this.loaded.has(name)) {
      this.loaded.set(name, this.load(name));
      this.loaded.get(name).catch(() => this.loaded.delete(name)); // the next click tries again
    }
    return this.loaded.get(name);
  }

  async _choose(name) {
    this.asked += 1;
    const turn = this.asked;
    const found = await this._fetch(name);
    if (turn !== this.asked) return;
    const before = this.player.payload;
    if (before && !this.ids.has(before.id)) this.left.add(before.id);
    this.player.show(found);
    this.player.chose(name);
  }
}
