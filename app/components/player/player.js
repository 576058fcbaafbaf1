// The canvas player: several clips drawn frame-exactly from one clock.
//
// One file, no build step. In the page the module beside it puts it in front of a call of `mountPlayer`; under node
// (tests/app/player.test.js) the functions above `mountPlayer` are tested by themselves.
//
// What it is told: the dataclasses of app/payload, names in camelCase; a test compares both. All texts reach the page through
// textContent.

const DIFF_MAX = 128; // 8-bit levels at the end of the heatmaps' scale: fixed, so that maps of all k compare

/** Frame shown `elapsed` ms after the start, at `speed` times `fps`; a clip that does not loop stops at its end. */
function frameAt(elapsed, fps, speed, numFrames, loop) {
  const frame = Math.floor((Math.max(elapsed, 0) / 1000) * fps * speed + 1e-9); // a frame may begin before the clock
  return loop ? frame % numFrames : Math.min(frame, numFrames - 1);
}

/** First pixel frames of the latent frames of a clip: 0, 1, 5, 9, ... */
function latentTicks(numFrames, ratio) {
  const ticks = [0];
  for (let frame = 1; frame < numFrames; frame += ratio) ticks.push(frame);
  return ticks;
}

/** The result of the largest budget that is not above k, or null. */
function atBudget(results, k) {
  const fitting = results.filter((result) => result.k <= k);
  return fitting.length ? fitting.reduce((a, b) => (b.k > a.k ? b : a)) : null;
}

/** The budget before k in an ascending list of results; null at the first one. */
function budgetBelow(results, k) {
  const below = results.filter((result) => result.k < k).map((result) => result.k);
  return below.length ? Math.max(...below) : null;
}

/** Colour of a difference of `levels` (0..255): black, violet, orange, white at DIFF_MAX; [r, g, b]. */
function heat(levels) {
  const stops = [[0, 0, 0], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 230]];
  const place = (Math.min(Math.abs(levels), DIFF_MAX) / DIFF_MAX) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * (place - low)));
}

/** Heatmap (RGBA) of the mean absolute difference of two RGBA pictures of one size. */
function heatmap(a, b) {
  const out = new Uint8ClampedArray(a.length);
  for (let i = 0; i < a.length; i += 4) {
    const levels = (Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2])) / 3;
    const [red, green, blue] = heat(levels);
    out[i] = red;
    out[i + 1] = green;
    out[i + 2] = blue;
    out[i + 3] = 255;
  }
  return out;
}

/** Heatmap (RGBA) of a grey picture whose levels are a spread between pictures. */
function spreadMap(grey) {
  return heatmap(grey, new Uint8ClampedArray(grey.length));
}

/** What a budget costs, in words. */
function budgetLine(k, latentFrames, bitsPerToken, numFrames) {
  const tokens = k * latentFrames;
  return `k = ${k}: ${tokens} tokens = ${Math.ceil((tokens * bitsPerToken) / 8)} bytes for ${numFrames} frame${numFrames === 1 ? "" : "s"}`;
}

/** Points of the small rate-distortion chart in a box of width x height: log2 k across, PSNR up. */
function chartPoints(results, range, width, height) {
  const last = Math.log2(range.maxK) || 1;
  return results
    .filter((result) => Number.isFinite(result.psnr))
    .map((result) => ({
      k: result.k,
      x: (Math.log2(result.k) / last) * width,
      y: height - ((result.psnr - range.low) / (range.high - range.low)) * height,
    }));
}

/** PSNR range of a chart: whole multiples of 2 dB around all values. */
function chartRange(payload) {
  const all = [...payload.registers, ...payload.grid].map((result) => result.psnr).filter(Number.isFinite);
  const low = Math.floor(Math.min(...all) / 2) * 2;
  const maxK = Math.max(payload.maxK, ...payload.grid.map((result) => result.k));
  return { low, high: Math.max(Math.ceil(Math.max(...all) / 2) * 2, low + 2), maxK };
}

const SPEEDS = [0.25, 0.5, 1, 2];
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

const PARTS = ["examples", "panels", "seeds", "transport", "budget", "views", "chart", "note"];

/**
 * Draw a player into the `.player` node of `element`. Beside a Gradio component's props it takes `parts` (of PARTS; all by
 * default) and `start` (of the state below). Returns what another script needs to steer it.
 */
function mountPlayer(element, props, watch, trigger, server) {
  const parts = props.parts || PARTS;
  const root = document.createElement("div");
  // The component draws its template anew when its value changes; all of ours lives in one node that is put back.
  const attach = () => element.querySelector(".player").replaceChildren(root);
  attach();
  const uid = (window.flextokPlayers = (window.flextokPlayers || 0) + 1); // radio groups and ids are the page's
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const state = { wanted: 16, view: "wipe", wipe: 0.5, speed: 1, loop: true, pixels: false, playing: !still, frame: 0, flipped: false, ...props.start };
  // The first screen's player keeps k, view and example in the page's address (app/share.js).
  const url = props.share ? window.flextokUrl : null;
  if (url) {
    state.wanted = Number(url.get("k")) || state.wanted;
    if (VIEWS[url.get("view")]) state.view = url.get("view");
  }
  let payload = null;
  let clockStart = performance.now();
  const chosen = () => atBudget(payload.registers, state.wanted) || payload.registers[0] || null;
  const images = new Map(); // sprite URL -> {image, ready}
  const scratch = document.createElement("canvas");

  // --- layout, made once ---------------------------------------------------------------------------------
  const examples = make("div", "examples");
  examples.setAttribute("role", "group");
  examples.setAttribute("aria-label", "Example clips");
  const panels = make("div", "panels");
  const seedsRow = make("div", "seeds");
  const seedsButton = make("button", "more-seeds", "Same tokens, other seeds");
  const stageBox = make("div", "stage-box");
  const stage = make("canvas", "stage");
  stage.tabIndex = 0;
  stage.setAttribute("role", "img");
  const wipe = make("input", "wipe");
  Object.assign(wipe, { type: "range", min: 0, max: 100, value: 50 });
  wipe.setAttribute("aria-label", "Wipe between the original and the reconstruction");
  const legend = make("div", "legend");
  const stageSide = make("div", "stage-side");
  const views = make("div", "views");
  views.setAttribute("role", "radiogroup");
  views.setAttribute("aria-label", "View");
  const chart = svg("svg", {
    class: "chart", viewBox: "-34 -10 270 150", role: "group",
    "aria-label": "PSNR against tokens per latent frame; press a point to show it",
  });
  const slider = make("input", "budget");
  slider.type = "range";
  slider.setAttribute("aria-label", "Tokens per latent frame");
  const budget = make("output", "budget-line");
  const transport = make("div", "transport");
  const play = make("button", "play");
  const back = make("button", "", "◀ frame");
  const next = make("button", "", "frame ▶");
  const speed = make("select", "speed");
  speed.setAttribute("aria-label", "Speed");
  for (const value of SPEEDS) speed.append(new Option(`${value}x`, value, value === 1, value === 1));
  const loop = make("button", "loop");
  const squares = make("button", "squares");
  squares.title = "Show the model's pixels as squares instead of smoothly enlarged";
  const scrub = make("input", "scrub");
  Object.assign(scrub, { type: "range", min: 0, value: 0, step: 1 });
  scrub.setAttribute("aria-label", "Frame");
  const ticks = make("datalist");
  ticks.id = `latent-frames-${uid}`;
  scrub.setAttribute("list", ticks.id);
  const where = make("span", "where");
  for (const button of [play, back, next, loop, squares, seedsButton]) button.type = "button";
  const note = make("p", "note");
  note.setAttribute("aria-live", "polite");
  transport.append(play, back, next, speed, loop, squares, scrub, ticks, where);
  const budgetRow = make("label", "budget-row");
  budgetRow.append(make("span", "", "Tokens per latent frame"), slider, budget);
  const budgetBar = make("div", "budget-bar");
  budgetBar.append(budgetRow, seedsButton);
  stageBox.append(stage, wipe, legend);
  stageSide.append(views, chart);
  const lower = make("div", "lower");
  lower.append(stageBox, stageSide);
  root.classList.add("empty"); // until there is a clip to play
  root.append(examples, panels, seedsRow, transport, budgetBar, lower, note);
  const nodes = { examples, panels, seeds: seedsButton, transport, budget: budgetBar, views, chart, note };
  for (const part of PARTS) if (!parts.includes(part)) nodes[part].setAttribute("hidden", ""); // SVG has no .hidden
  for (const [name, text] of Object.entries(VIEWS)) {
    const label = make("label");
    const radio = make("input");
    Object.assign(radio, { type: "radio", name: `player-view-${uid}`, value: name, checked: name === state.view });
    radio.addEventListener("change", () => set({ view: name }));
    label.dataset.view = name;
    label.append(radio, make("span", "", text));
    views.append(label);
  }

  const loaded = new Map(); // name -> promise of a payload; begun when the pointer or the focus comes near
  function load(name) {
    if (!loaded.has(name)) {
      loaded.set(name, server.example(name));
      loaded.get(name).catch(() => loaded.delete(name)); // the next click tries again
    }
    return loaded.get(name);
  }

  const exampleClips = new Set((props.examples || []).map((example) => example.id));
  const left = new Set(); // clips that were left for an example: what still comes of them is not shown
  let asked = 0; // examples load at their own pace; the one asked for last is shown
  for (const example of props.examples || []) {
    const button = make("button");
    button.type = "button";
    button.title = example.title;
    const picture = make("img");
    Object.assign(picture, { src: example.thumbnail, alt: example.title });
    button.append(picture);
    button.addEventListener("click", async () => {
      asked += 1;
      const turn = asked;
      const found = await load(example.name);
      if (turn !== asked) return;
      if (payload && !exampleClips.has(payload.id)) left.add(payload.id);
      show(found);
      if (url) url.set("example", example.name, "");
      trigger("select", { name: example.name });
    });
    for (const near of ["pointerenter", "focus"]) button.addEventListener(near, () => load(example.name));
    examples.append(button);
  }

  // --- pictures ------------------------------------------------------------------------------------------
  function sprite(url) {
    if (!images.has(url)) {
      const image = new Image();
      const entry = { image, ready: false };
      image.onload = () => {
        entry.ready = true;
        draw();
      };
      image.src = url;
      images.set(url, entry);
    }
    return images.get(url);
  }

  /** Draw one frame of a sprite; says "not encoded" where the clip is too short. True if pixels were drawn. */
  function drawFrame(context, url, frames, frame, x, width, height) {
    if (frame >= frames) {
      context.fillStyle = "#777";
      context.fillRect(x, 0, width, height);
      context.fillStyle = "#fff";
      context.textAlign = "center";
      context.font = `${Math.max(Math.round(height / 9), 9)}px sans-serif`;
      context.fillText("not encoded", x + width / 2, height / 2);
      return false;
    }
    const entry = sprite(url);
    if (!entry.ready) return false;
    const size = payload.size;
    context.drawImage(entry.image, frame * size, 0, size, size, x, 0, width, height);
    return true;
  }

  function pixels(url, frame) {
    const entry = sprite(url);
    if (!entry.ready) return null;
    const size = payload.size;
    scratch.width = scratch.height = size;
    const context = scratch.getContext("2d", { willReadFrequently: true });
    context.drawImage(entry.image, frame * size, 0, size, size, 0, 0, size, size);
    return context.getImageData(0, 0, size, size).data;
  }

  /** Small pictures are enlarged smoothly: squares of pixels hide what is in them. Who wants to see pixels can. */
  function smoothing(context) {
    context.imageSmoothingEnabled = !state.pixels;
    context.imageSmoothingQuality = "high";
  }

  function drawPanels() {
    for (const canvas of root.querySelectorAll(".panels canvas, .seeds canvas")) {
      const context = canvas.getContext("2d");
      smoothing(context);
      if (canvas.dataset.spread) {
        drawSpread(canvas, context);
        continue;
      }
      drawFrame(context, canvas.dataset.sprite, Number(canvas.dataset.frames), state.frame, 0, canvas.width, canvas.height);
    }
  }

  function drawSpread(canvas, context) {
    const frame = Math.min(state.frame, Number(canvas.dataset.frames) - 1);
    const grey = pixels(canvas.dataset.sprite, frame);
    if (!grey) return;
    scratch.getContext("2d").putImageData(new ImageData(spreadMap(grey), payload.size, payload.size), 0, 0);
    context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
  }

  function drawStage() {
    const result = chosen();
    const context = stage.getContext("2d");
    smoothing(context);
    const { width, height } = stage;
    if (!result || state.flipped) {
      drawFrame(context, payload.source, payload.numFrames, state.frame, 0, width, height);
      return;
    }
    if (state.view === "wipe" || state.view === "flip") {
      drawFrame(context, result.sprite, result.frames, state.frame, 0, width, height);
      if (state.view === "wipe") {
        const edge = Math.round(state.wipe * width);
        context.save();
        context.beginPath();
        context.rect(0, 0, edge, height);
        context.clip();
        drawFrame(context, payload.source, payload.numFrames, state.frame, 0, width, height);
        context.restore();
        context.fillStyle = "#fff";
        context.fillRect(edge - 1, 0, 2, height);
      }
      return;
    }
    const below = budgetBelow(payload.registers, result.k);
    const other = state.view === "difference" || below === null ? payload.source : atBudget(payload.registers, below).sprite;
    const a = pixels(result.sprite, state.frame);
    const b = a && pixels(other, state.frame);
    if (!b) return;
    const size = payload.size;
    scratch.width = scratch.height = size;
    scratch.getContext("2d").putImageData(new ImageData(heatmap(a, b), size, size), 0, 0);
    context.drawImage(scratch, 0, 0, width, height);
  }

  function draw() {
    if (!payload) return;
    drawPanels();
    drawStage();
    scrub.value = state.frame;
    where.textContent = `${state.frame + 1}/${payload.numFrames}`;
    root.dataset.frame = state.frame;
  }

  // --- state ---------------------------------------------------------------------------------------------
  function set(changes) {
    Object.assign(state, changes);
    if (!payload) return;
    const result = chosen();
    const below = result && budgetBelow(payload.registers, result.k);
    const heatView = state.view === "difference" || state.view === "change";
    wipe.hidden = state.view !== "wipe";
    legend.hidden = !heatView;
    const texts = viewTexts(payload);
    const pair = texts === VIEWS ? "original against tokens" : texts.difference;
    const compared = state.view === "change" && below !== null ? `k = ${below} against k = ${result.k}` : pair;
    legend.textContent = heatView ? `${compared}; black 0 to white ${DIFF_MAX} of 255 levels, the same scale for every k` : "";
    play.textContent = state.playing ? "❚❚ pause" : "▶ play";
    loop.textContent = state.loop ? "loop on" : "loop off";
    loop.setAttribute("aria-pressed", String(state.loop));
    squares.textContent = state.pixels ? "pixels on" : "pixels off";
    squares.setAttribute("aria-pressed", String(state.pixels));
    root.classList.toggle("pixels", state.pixels);
    const k = result ? result.k : state.wanted;
    budget.textContent = budgetLine(k, payload.latentFrames, payload.bitsPerToken, payload.numFrames);
    slider.value = payload.registers.indexOf(result);
    const quality = result && Number.isFinite(result.psnr) ? `, PSNR ${result.psnr.toFixed(1)} dB` : "";
    const viewText = viewTexts(payload)[state.view];
    stage.setAttribute("aria-label", payload.compare ? viewText : `${viewText}; ${budget.textContent}${quality}`);
    root.dataset.k = k;
    root.dataset.view = state.view;
    if (url && ("wanted" in changes || "view" in changes)) {
      url.set("k", state.wanted, 16);
      url.set("view", state.view, "wipe");
    }
    drawGridPanels(k);
    drawChart(k);
    draw();
    if (props.onChange) props.onChange(k);
  }

  function play_(playing) {
    if (playing && !state.loop && state.frame === payload.numFrames - 1) state.frame = 0; // once more
    clockStart = performance.now() - (state.frame / (payload.fps * state.speed)) * 1000;
    set({ playing });
  }

  function step(by) {
    const frame = (state.frame + by + payload.numFrames) % payload.numFrames;
    set({ playing: false, frame });
  }

  const chooseBudget = (k) => set({ wanted: k });

  // --- parts that follow the payload -----------------------------------------------------------------------
  function panel(id, title, lines, url, frames) {
    const figure = make("figure");
    figure.dataset.panel = id;
    const canvas = make("canvas");
    canvas.width = canvas.height = payload.size * 3;
    canvas.dataset.sprite = url;
    canvas.dataset.frames = frames;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", [title, ...lines].join(", "));
    const caption = make("figcaption");
    caption.append(make("b", "", title), ...lines.map((line) => make("span", "", line)));
    figure.append(canvas, caption);
    return figure;
  }

  function resultLines(result) {
    if (result.lines) return result.lines;
    const lines = [`${result.tokens} tokens, ${result.bytes} bytes`, `PSNR ${result.psnr.toFixed(1)} dB`];
    if (result.frames < payload.numFrames) lines.push(`${result.frames} of ${payload.numFrames} frames encoded`);
    return lines;
  }

  function buildPanels() {
    const sourceLines = payload.sourceLines || [`${payload.numFrames} frame${payload.numFrames === 1 ? "" : "s"}, ${payload.size} px`];
    const shown = [panel("original", payload.sourceTitle || "Original", sourceLines, payload.source, payload.numFrames)];
    for (const result of payload.registers) {
      if (payload.shown.includes(result.k)) {
        const figure = panel(`k${result.k}`, result.title || `k = ${result.k}`, resultLines(result), result.sprite, result.frames);
        figure.addEventListener("click", () => chooseBudget(result.k));
        shown.push(figure);
      }
    }
    for (const more of payload.extra || []) shown.push(panel(more.id, more.title, more.lines || [], more.sprite, more.frames));
    panels.replaceChildren(...shown);
  }

  /** The grid at the tokens of the chosen budget: coarser cells, and full cells for fewer frames. */
  function drawGridPanels(k) {
    for (const old of panels.querySelectorAll("[data-panel^=grid]")) old.remove();
    const onlySize = payload.grid.length === 1 ? payload.grid[0] : null; // a grid of one size has no coarser cells
    const coarser = onlySize || atBudget(payload.grid, k);
    if (coarser) {
      const lines = resultLines(coarser);
      if (coarser.k < k) lines.push(`the largest grid within ${k * payload.latentFrames} tokens`);
      const title = onlySize ? "3D grid, all its tokens" : "3D grid, coarser cells";
      panels.append(panel("grid-coarser", title, lines, coarser.sprite, coarser.frames));
    }
    const shorter = atBudget(payload.shortGrid, k);
    if (shorter) {
      panels.append(panel("grid-shorter", "3D grid, fewer frames", resultLines(shorter), shorter.sprite, shorter.frames));
    } else if (payload.grid.length) {
      const cells = Math.max(...payload.grid.map((result) => result.k), payload.maxK);
      const line = `${k * payload.latentFrames} tokens do not fill one latent frame of ${cells} cells`;
      panels.append(panel("grid-shorter", "3D grid, fewer frames", [line], "", 0));
    }
  }

  function drawChart(k) {
    const shape = (tag, attributes, text) => svg(tag, text === undefined ? attributes : { ...attributes, text });
    const points = payload.registers.some((result) => Number.isFinite(result.psnr));
    if (!points || payload.compare) return chart.replaceChildren();
    const [width, height, range] = [220, 100, chartRange(payload)];
    const parts = [
      shape("line", { x1: 0, x2: width, y1: height, y2: height, class: "axis" }),
      shape("line", { x1: 0, x2: 0, y1: 0, y2: height, class: "axis" }),
      shape("text", { x: -4, y: height, class: "tick", "text-anchor": "end" }, `${range.low} dB`),
      shape("text", { x: -4, y: 8, class: "tick", "text-anchor": "end" }, `${range.high}`),
      shape("text", { x: width, y: height + 30, class: "tick", "text-anchor": "end" }, "tokens per latent frame"),
    ];
    for (const [name, results] of [["grid", payload.grid], ["registers", payload.registers]]) {
      const points = chartPoints(results, range, width, height);
      parts.push(shape("polyline", { points: points.map((p) => `${p.x},${p.y}`).join(" "), class: name }));
      for (const point of points) {
        const isChosen = name === "registers" && point.k === k;
        const dot = shape("circle", { cx: point.x, cy: point.y, r: isChosen ? 6 : 3.5, class: `${name}${isChosen ? " chosen" : ""}` });
        if (name === "registers") {
          dot.setAttribute("tabindex", "0");
          dot.setAttribute("role", "button");
          dot.setAttribute("aria-label", `Show k = ${point.k}`);
          dot.addEventListener("click", () => chooseBudget(point.k));
          dot.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            event.stopPropagation();
            chooseBudget(point.k); // draws the chart anew
            chart.querySelector(`[aria-label="Show k = ${point.k}"]`).focus();
          });
          parts.push(shape("text", { x: point.x, y: height + 14, class: "tick", "text-anchor": "middle" }, point.k));
        }
        parts.push(dot);
      }
    }
    parts.push(shape("text", { x: 0, y: height + 30, class: "tick registers-label" }, "● registers"));
    if (payload.grid.length) parts.push(shape("text", { x: 58, y: height + 30, class: "tick grid-label" }, "● 3D grid"));
    chart.replaceChildren(...parts);
  }

  /** A row of one budget's seeds, until another clip is shown. */
  function showSeeds(value) {
    if (!payload || value.clip !== payload.id) return; // another clip has come since they were asked for
    const shown = value.seeds.map((result) =>
      panel(result.title.replace(" ", "-"), result.title, [`k = ${value.k}`, ...resultLines(result).slice(1)], result.sprite, result.frames),
    );
    const spread = panel("spread", "Where they differ", [`deviation, ${value.meanSpread} levels on average`, `scale: black 0 to white ${DIFF_MAX}`], value.spread, value.frames);
    spread.querySelector("canvas").dataset.spread = "1";
    seedsRow.replaceChildren(...shown, spread);
    root.dataset.seeds = value.k;
    draw();
  }

  function show(value) {
    if (!value || !value.source) return;
    const fresh = !payload || payload.id !== value.id;
    payload = value;
    root.classList.remove("empty");
    const budgets = payload.registers.map((result) => result.k);
    Object.assign(slider, { min: 0, max: Math.max(budgets.length - 1, 0), step: 1 });
    scrub.max = payload.numFrames - 1;
    ticks.replaceChildren(...latentTicks(payload.numFrames, payload.ratio).map((frame) => new Option("", frame)));
    root.classList.toggle("comparing", Boolean(payload.compare));
    for (const label of views.children) {
      const text = payload.compare ? payload.compare[label.dataset.view] : viewTexts(payload)[label.dataset.view];
      label.hidden = !text;
      if (text) label.lastChild.textContent = text;
    }
    stage.width = stage.height = payload.size * 4;
    note.textContent = payload.note || "";
    if (fresh) {
      state.frame = 0;
      clockStart = performance.now();
      for (const url of images.keys()) images.delete(url);
      seedsRow.replaceChildren();
      delete root.dataset.seeds;
    }
    buildPanels();
    set({});
    root.dataset.clip = payload.id;
    root.dataset.ready = budgets.length;
  }

  // --- events ----------------------------------------------------------------------------------------------
  play.addEventListener("click", () => play_(!state.playing));
  back.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  loop.addEventListener("click", () => set({ loop: !state.loop }));
  squares.addEventListener("click", () => set({ pixels: !state.pixels }));
  speed.addEventListener("change", () => {
    state.speed = Number(speed.value);
    play_(state.playing);
  });
  scrub.addEventListener("input", () => set({ playing: false, frame: Number(scrub.value) }));
  wipe.addEventListener("input", () => set({ wipe: Number(wipe.value) / 100 }));
  slider.addEventListener("input", () => chooseBudget(payload.registers[Number(slider.value)].k));
  let dragging = false;
  const dragTo = (event) => {
    const box = stage.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    wipe.value = share * 100;
    set({ wipe: share });
  };
  stage.addEventListener("pointerdown", (event) => {
    if (state.view !== "wipe") return set({ flipped: true });
    dragging = true;
    stage.setPointerCapture(event.pointerId);
    dragTo(event);
  });
  stage.addEventListener("pointermove", (event) => dragging && dragTo(event));
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    stage.addEventListener(name, () => {
      dragging = false;
      if (state.flipped) set({ flipped: false });
    });
  }
  root.addEventListener("keydown", (event) => {
    if (!payload || ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName)) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    const keys = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      k: () => play_(!state.playing),
      l: () => set({ loop: !state.loop }),
      " ": () => state.flipped || set({ flipped: true }),
    };
    const nth = payload.registers[Number(event.key) - 1];
    if (keys[event.key]) keys[event.key]();
    else if (nth) chooseBudget(nth.k);
    else return;
    event.preventDefault();
  });
  root.addEventListener("keyup", (event) => event.key === " " && set({ flipped: false }));

  let visible = true;
  new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
  }).observe(root);
  let attached = false; // it may be built before it is put on the page
  function tick(now) {
    if (attached && !root.isConnected) return;
    attached = root.isConnected;
    if (payload && state.playing && visible && !document.hidden) {
      const frame = frameAt(now - clockStart, payload.fps, state.speed, payload.numFrames, state.loop);
      if (frame !== state.frame) {
        state.frame = frame;
        draw();
      }
      if (!state.loop && frame === payload.numFrames - 1) set({ playing: false });
    }
    requestAnimationFrame(tick);
  }
  requestAnimationFrame(tick);
  seedsButton.addEventListener("click", () => trigger("submit", { k: chosen() ? chosen().k : state.wanted, clip: payload ? payload.id : "" }));
  watch("value", () => {
    attach();
    if (props.value && props.value.seeds) showSeeds(props.value);
    else if (!props.value || !left.has(props.value.id)) show(props.value);
  });
  show(props.value);
  return { show, set, chosen };
}

if (typeof module !== "undefined") {
  module.exports = { atBudget, budgetBelow, budgetLine, chartPoints, chartRange, DIFF_MAX, frameAt, heat, heatmap, latentTicks, spreadMap };
}
