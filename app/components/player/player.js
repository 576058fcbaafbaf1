// The canvas player: several clips drawn frame-exactly from one clock.
//
// No build step: in the page the Python beside it puts values.js, sprites.js, panels.js, stage.js, controls.js and this file,
// one after the other, in front of a call of `mountPlayer`. What it is told are the dataclasses of app.components.payload,
// names in camelCase; a test compares both.

const PARTS = ["examples", "panels", "seeds", "transport", "budget", "views", "chart", "note"];

/**
 * State and clock. Each part has a `node` and, where it needs them, `show(payload, fresh)` for what has landed of a clip
 * (`fresh`: of another one), `update(k, quality)` when the state has changed, `draw()` for a frame.
 */
class Player {
  /** Beside a Gradio component's props it takes `parts` (of PARTS; all by default) and `start` (of the state below). */
  constructor(props, trigger, server) {
    this.props = props;
    this.trigger = trigger;
    this.uid = window.flextokPlayers = (window.flextokPlayers || 0) + 1; // radio groups and ids are the page's
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.state = { wanted: 16, view: "wipe", wipe: 0.5, speed: 1, loop: true, pixels: false, playing: !still, frame: 0, flipped: false, ...props.start };
    // The first screen's player keeps k, view and example in the page's address (app/share.js).
    this.url = props.share ? window.flextokUrl : null;
    if (this.url) {
      this.state.wanted = Number(this.url.get("k")) || this.state.wanted;
      if (VIEWS[this.url.get("view")]) this.state.view = this.url.get("view");
    }
    this.payload = null;
    this.clockStart = performance.now();
    this.sprites = new Sprites(() => this.draw());
    this.root = make("div", "empty"); // until there is a clip to play
    this._build(server);
    this.root.addEventListener("keydown", (event) => this._key(event));
    this.root.addEventListener("keyup", (event) => event.key === " " && this.set({ flipped: false }));
    this._run();
  }

  _build(server) {
    this.examples = new ExampleRow(this, this.props.examples || [], (name) => server.example(name));
    this.panels = new Panels(this);
    const transport = new Transport(this);
    const budget = new BudgetBar(this, () => this._askForSeeds());
    const stage = new Stage(this);
    const views = new ViewPicker(this);
    const chart = new RateChart(this);
    const note = { node: h("p", { class: "note", "aria-live": "polite" }), show: (payload) => (note.node.textContent = payload.note || "") };
    this.parts = [transport, budget, views, note, stage, this.panels, chart];
    const side = h("div", { class: "stage-side" }, views.node, chart.node);
    const lower = h("div", { class: "lower" }, stage.node, side);
    this.root.append(this.examples.node, this.panels.node, this.panels.seeds, transport.node, budget.node, lower, note.node);
    const nodes = {
      examples: this.examples.node, panels: this.panels.node, seeds: budget.seedsButton, transport: transport.node,
      budget: budget.node, views: views.node, chart: chart.node, note: note.node,
    };
    const wanted = this.props.parts || PARTS;
    for (const name of PARTS) if (!wanted.includes(name)) nodes[name].setAttribute("hidden", ""); // SVG has no .hidden
  }

  /** The result of the chosen budget: the largest that has landed and is not above it. */
  chosen() {
    return atBudget(this.payload.registers, this.state.wanted) || this.payload.registers[0] || null;
  }

  /** What has landed of a clip. */
  show(payload) {
    if (!payload || !payload.source) return;
    const fresh = !this.payload || this.payload.id !== payload.id;
    this.payload = payload;
    this.sprites.size = payload.size;
    this.root.classList.remove("empty");
    this.root.classList.toggle("comparing", Boolean(payload.compare));
    if (fresh) {
      this.state.frame = 0;
      this.clockStart = performance.now();
      this.sprites.forget();
    }
    for (const part of this.parts) if (part.show) part.show(payload, fresh);
    this.set({});
    this.root.dataset.clip = payload.id;
    this.root.dataset.ready = payload.registers.length;
  }

  /** What has come from the server: a clip, or seeds of one that may have been left since. */
  receive(value) {
    if (value && value.seeds) {
      if (!this.payload || value.clip !== this.payload.id) return;
      this.panels.showSeeds(value);
      this.draw();
    } else if (!value || !this.examples.left.has(value.id)) {
      this.show(value);
    }
  }

  /** An example was chosen by its button. */
  chose(name) {
    if (this.url) this.url.set("example", name, "");
    this.trigger("select", { name });
  }

  set(changes) {
    Object.assign(this.state, changes);
    const { payload, state, url } = this;
    if (!payload) return;
    const result = this.chosen();
    const k = result ? result.k : state.wanted;
    const dB = result && Number.isFinite(result.psnr) ? `, PSNR ${result.psnr.toFixed(1)} dB` : "";
    const quality = budgetLine(k, payload.latentFrames, payload.bitsPerToken, payload.numFrames) + dB;
    this.root.classList.toggle("pixels", state.pixels);
    this.root.dataset.k = k;
    this.root.dataset.view = state.view;
    if (url && ("wanted" in changes || "view" in changes)) {
      url.set("k", state.wanted, 16);
      url.set("view", state.view, "wipe");
    }
    for (const part of this.parts) if (part.update) part.update(k, quality);
    this.draw();
    if (this.props.onChange) this.props.onChange(k);
  }

  draw() {
    if (!this.payload) return;
    for (const part of this.parts) if (part.draw) part.draw();
    this.root.dataset.frame = this.state.frame;
  }

  play(playing) {
    const { payload, state } = this;
    if (playing && !state.loop && state.frame === payload.numFrames - 1) state.frame = 0; // once more
    this.clockStart = performance.now() - (state.frame / (payload.fps * state.speed)) * 1000;
    this.set({ playing });
  }

  step(by) {
    const { numFrames } = this.payload;
    this.set({ playing: false, frame: (this.state.frame + by + numFrames) % numFrames });
  }

  _askForSeeds() {
    const result = this.payload && this.chosen();
    this.trigger("submit", { k: result ? result.k : this.state.wanted, clip: this.payload ? this.payload.id : "" });
  }

  _key(event) {
    const { payload, state } = this;
    if (!payload || ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName)) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    const keys = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      k: () => this.play(!state.playing),
      l: () => this.set({ loop: !state.loop }),
      " ": () => state.flipped || this.set({ flipped: true }),
    };
    const nth = payload.registers[Number(event.key) - 1];
    if (keys[event.key]) keys[event.key]();
    else if (nth) this.set({ wanted: nth.k });
    else return;
    event.preventDefault();
  }

  /** The clock: frames follow it while the player is on the page and can be seen. */
  _run() {
    let visible = true;
    new IntersectionObserver((entries) => {
      visible = entries[entries.length - 1].isIntersecting;
    }).observe(this.root);
    let attached = false; // it may be built before it is put on the page
    const tick = (now) => {
      if (attached && !this.root.isConnected) return;
      attached = this.root.isConnected;
      if (this.payload && this.state.playing && visible && !document.hidden) this._tick(now);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  _tick(now) {
    const { payload, state } = this;
    const frame = frameAt(now - this.clockStart, payload.fps, state.speed, payload.numFrames, state.loop);
    if (frame !== state.frame) {
      state.frame = frame;
      this.draw();
    }
    if (!state.loop && frame === payload.numFrames - 1) this.set({ playing: false });
  }
}

/** Draw a player into the `.player` node of `element`; returns it. */
function mountPlayer(element, props, watch, trigger, server) {
  const player = new Player(props, trigger, server);
  // The component draws its template anew when its value changes; all of ours lives in one node that is put back.
  const attach = () => element.querySelector(".player").replaceChildren(player.root);
  attach();
  watch("value", () => {
    attach();
    player.receive(props.value);
  });
  player.show(props.value);
  return player;
}
