// What there is to try in each Learn step. A widget is a function (host, env) that fills `host` and may return `answer`,
// which measures the right answer of the step's question: {index, why}. env: {clips, baked, content, say}; `say` announces
// what changed to screen readers. Nothing here asks the server for anything.

const count = (n) => Math.round(n).toLocaleString("en");
const percent = (share) => `${Math.round(100 * share)} %`;

/** A range of named stops; `onInput(index)`. */
function stops(label, values, start, onInput, show = (value) => value) {
  const output = h("output", { text: show(values[start]) });
  const input = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: start, "aria-label": label });
  const update = () => {
    output.textContent = show(values[Number(input.value)]);
    input.setAttribute("aria-valuetext", output.textContent);
    onInput(values[Number(input.value)]);
  };
  input.addEventListener("input", update);
  return { node: h("label", { class: "learn-stops" }, h("span", { text: label }), input, output), update, input };
}

/** Radio buttons in a row; `onChange(value)`. */
function choices(label, options, start, onChange) {
  const name = `learn-${label.replace(/\W+/g, "-")}-${Math.random().toString(36).slice(2, 8)}`;
  const node = h("fieldset", { class: "learn-choices" }, h("legend", { text: label }));
  for (const [value, text] of options) {
    const input = h("input", { type: "radio", name, value, onchange: () => onChange(value) });
    input.checked = value === start;
    node.append(h("label", {}, input, h("span", { text })));
  }
  return node;
}

/** A row of bars: [{name, share, text, class}]; the whole reads as one sentence. */
function bars(node, label, rows) {
  node.className = "learn-bars";
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", `${label}: ${rows.map((row) => `${row.name} ${row.text}`).join(", ")}`);
  node.replaceChildren(
    ...rows.map((row) =>
      h("div", { class: "learn-bar-row" }, h("span", { text: row.name }),
        h("span", { class: "learn-track" }, h("span", { class: `learn-fill ${row.class || ""}`, style: `width:${100 * Math.min(Math.max(row.share, 0), 1)}%` })),
        h("span", { class: "learn-value", text: row.text })),
    ),
  );
}

/** Boards of cells, one for each latent frame: `isPaid(frame, cell)`. */
function boards(node, frames, rows, columns, name, isPaid) {
  const gap = frames > 1 && rows > 1 ? 2 : 0;
  const width = rows > 1 ? frames * (columns + gap) - gap : columns;
  const height = rows > 1 ? rows : frames * 2.4;
  const cells = [];
  for (let t = 0; t < frames; t++) {
    for (let cell = 0; cell < rows * columns; cell++) {
      const x = rows > 1 ? t * (columns + gap) + (cell % columns) : cell;
      const y = rows > 1 ? Math.floor(cell / columns) : t * 2.4;
      cells.push(svg("rect", { x: x + 0.06, y: y + 0.06, width: 0.88, height: rows > 1 ? 0.88 : 2.1, rx: 0.15, class: isPaid(t, cell) ? `cell ${name}` : "cell" }));
    }
  }
  node.setAttribute("viewBox", `0 0 ${width} ${height}`);
  node.setAttribute("class", "learn-boards");
  node.setAttribute("aria-hidden", "true");
  node.replaceChildren(...cells);
}

const filmsOf = (clip) => makeFilms({ numFrames: clip.numFrames, fps: clip.fps, size: clip.size });
const filmRow = (...films) => h("div", { class: "learn-films" }, ...films.map((film) => film.node));
const firstRegister = (clip, k) => atBudget(clip.registers, k);

function priceWidget(host, { clips, baked, say }) {
  const clip = clips.get(baked.probes.clip);
  const { hole } = baked.probes;
  const films = filmsOf(clip);
  const [original, fewer, coarser] = ["Original", "Small cells, fewer frames", "All frames, larger cells"].map(films.add);
  const [board, line, sentence] = [svg("svg"), h("p", { class: "learn-line" }), h("p", { class: "learn-note" })];
  let [k, deleted] = [16, false];
  original.show({ url: clip.source, frames: clip.numFrames, line: `${clip.numFrames} frames` });

  function show() {
    const tokens = k * clip.latentFrames;
    const paid = Math.floor(tokens / clip.maxK);
    const frames = paid ? 1 + (paid - 1) * 4 : 0;
    boards(board, clip.latentFrames, 8, 8, "grid", (t, cell) => t < paid && !(deleted && inHole(cell)));
    line.textContent = `${tokens} tokens: the 8x8 grid pays for ${paid} of ${clip.latentFrames} latent frames, ${frames} of ${clip.numFrames} frames.`;
    const short = atBudget(clip.shortGrid, k);
    if (deleted) {
      fewer.show({ url: hole.sprite, frames: hole.frames, title: "8x8 grid, middle deleted", line: `${hole.cells} of ${clip.maxK} tokens of each latent frame gone` });
    } else if (short && frames) fewer.show({ url: short.sprite, frames: short.frames, line: `${short.tokens} tokens` });
    else fewer.show({ url: "", frames: 0, line: `one latent frame takes ${clip.maxK} tokens` });
    const coarse = atBudget(clip.grid, k);
    coarser.show({ url: coarse.sprite, frames: coarse.frames, line: `${Math.sqrt(coarse.k)}x${Math.sqrt(coarse.k)} cells, ${coarse.tokens} tokens` });
    const kept = firstRegister(clip, k === clip.maxK ? clip.maxK / 4 : k);
    sentence.textContent = deleted
      ? `The grid has a hole where tokens are missing: nothing else can speak for that place. The next step shows tokens of which three quarters (${kept.k} of ${clip.maxK} left) can go without a hole.`
      : "";
    say(line.textContent);
  }
  const inHole = (cell) => [Math.floor(cell / 8), cell % 8].every((place) => place >= 2 && place < 6);
  const slider = stops("Tokens for the clip", clip.registers.map((r) => r.k), 4, (value) => {
    [k, deleted] = [value, false];
    remove.textContent = "Delete the middle tokens";
    show();
  }, (value) => `${value * clip.latentFrames} tokens`);
  const remove = h("button", { type: "button", class: "learn-button", text: "Delete the middle tokens", onclick: () => {
    if (k !== clip.maxK) {
      slider.input.value = clip.registers.length - 1;
      slider.update();
    }
    deleted = !deleted;
    remove.textContent = deleted ? "Put them back" : "Delete the middle tokens";
    show();
  } });
  host.append(h("div", { class: "learn-controls" }, slider.node, remove), board, line, filmRow(original, fewer, coarser), films.bar, sentence);
  show();
}

function registersWidget(host, { clips, baked, say }) {
  const clip = clips.get(baked.probes.clip);
  const { ids, numIds, registers, cells } = baked.probes;
  const films = filmsOf(clip);
  const [all, changed, where] = ["All tokens", "One replaced", "Where it changed"].map(films.add);
  const [matrix, chart] = [svg("svg"), h("div")];
  const state = { kind: "registers", place: registers.replaced[0].place };
  const sets = { registers, cells };
  const shares = new Map();

  function drawMatrix() {
    const chosen = state.kind === "registers" ? state.place - 1 : -1;
    const rects = ids.flatMap((row, t) => row.map((id, i) =>
      svg("rect", { x: i + 0.05, y: t * 1.6, width: 0.9, height: 1.4, rx: 0.15, fill: `hsl(${Math.round((360 * id) / numIds)} 62% 58%)`, opacity: chosen < 0 || chosen === i ? 1 : 0.3 })));
    matrix.setAttribute("viewBox", `0 0 ${ids[0].length} ${ids.length * 1.6}`);
    matrix.setAttribute("class", "learn-matrix");
    matrix.setAttribute("role", "img");
    matrix.setAttribute("aria-label", `${ids.length} latent frames of ${ids[0].length} tokens` + (chosen >= 0 ? `; register ${state.place} is replaced in each` : ""));
    matrix.replaceChildren(...rects);
  }
  const name = (kind, place) => (kind === "registers" ? `register ${place}` : `cell in row ${Math.ceil(place / 8)}, column ${((place - 1) % 8) + 1}`);

  async function measure() {
    for (const [kind, set] of Object.entries(sets)) {
      const before = await spritePixels(set.all.sprite, clip.size, clip.numFrames);
      for (const one of set.replaced) {
        const after = await spritePixels(one.sprite, clip.size, clip.numFrames);
        const frames = before.map((picture, i) => changedShare(picture, after[i]));
        shares.set(`${kind}${one.place}`, frames.reduce((a, b) => a + b, 0) / frames.length);
      }
    }
  }
  const measured = measure();

  async function show() {
    const set = sets[state.kind];
    const one = set.replaced.find((result) => result.place === state.place);
    drawMatrix();
    all.show({ url: set.all.sprite, frames: set.all.frames, title: state.kind === "registers" ? "All registers" : "All cells of the grid" });
    changed.show({ url: one.sprite, frames: one.frames, title: `With another ${name(state.kind, state.place)}` });
    where.show({ url: one.sprite, frames: one.frames, against: set.all.sprite, line: "black: no change, white: most" });
    await measured;
    const rows = Object.entries(sets).flatMap(([kind, { replaced }]) => replaced.map(({ place }) => {
      const share = shares.get(`${kind}${place}`);
      return { name: name(kind, place), share, text: percent(share), class: kind === "cells" ? "grid" : "" };
    }));
    bars(chart, "Share of the picture that changes", rows);
    const share = shares.get(`${state.kind}${state.place}`);
    where.show({ ...where.shown, line: `${percent(share)} of the picture changed visibly` });
    say(`${name(state.kind, state.place)} replaced: ${percent(share)} of the picture changed.`);
  }
  const choose = (kind) => (value) => {
    Object.assign(state, { kind, place: Number(value) });
    other[kind].querySelectorAll("input").forEach((input) => (input.checked = false));
    show();
  };
  const pick = {
    registers: choices("Replace a register", registers.replaced.map((r) => [String(r.place), r.place]), String(state.place), choose("registers")),
    cells: choices("or a cell of the grid", cells.replaced.map((c) => [String(c.place), `row ${Math.ceil(c.place / 8)}, column ${((c.place - 1) % 8) + 1}`]), "", choose("cells")),
  };
  const other = { registers: pick.cells, cells: pick.registers };
  host.append(
    h("p", { class: "learn-caption", text: `The clip's ${ids.length * ids[0].length} tokens: a row for each latent frame, register 1 on the left` }), matrix,
    h("div", { class: "learn-controls" }, pick.registers, pick.cells), filmRow(all, changed, where), films.bar,
    h("p", { class: "learn-caption", text: "Share of the picture that changes, mean of all frames" }), chart,
  );
  show();
  return {
    answer: async () => {
      await measured;
      const largest = (kind) => Math.max(...sets[kind].replaced.map(({ place }) => shares.get(`${kind}${place}`)));
      const [register, cell] = [largest("registers"), largest("cells")];
      const index = register > 1.2 * cell ? 1 : cell > 1.2 * register ? 0 : 2;
      return { index, why: `Measured on this clip: a register changes up to ${percent(register)} of the picture, a cell of the grid up to ${percent(cell)}.` };
    },
  };
}

/** Two curves in a small chart: grey is the original. */
function curveChart(node, curve, guess, name) {
  const y = (value) => 50 - value * 13;
  const points = (list) => list.map((value, x) => `${x * 6 + 4},${y(value).toFixed(1)}`).join(" ");
  node.setAttribute("viewBox", "0 0 194 100");
  node.setAttribute("class", "learn-curve");
  node.setAttribute("aria-hidden", "true");
  node.replaceChildren(svg("polyline", { points: points(curve), class: "truth" }), svg("polyline", { points: points(guess), class: name }));
}

function dropoutWidget(host, env) {
  const { say } = env;
  let [seed, curveSeed, kept] = [1, 1, 2];
  const kinds = [["with", true, "Trained with nested dropout", "registers"], ["without", false, "Trained without it", "grid"]];
  const parts = kinds.map(([, , title]) => ({ chart: svg("svg"), line: h("span"), errors: h("div"), title }));
  let nets = [];
  function train() {
    nets = kinds.map(([, nested]) => trainToy(nested, seed));
    nets.forEach((net, i) => (parts[i].shares = toyErrors(net, 1000 + seed)));
    show();
  }
  function show() {
    const curve = smoothCurve(randomFrom(500 + curveSeed));
    const texts = nets.map((net, i) => {
      curveChart(parts[i].chart, curve, decodeToy(net, encodeToy(net, curve), kept), kinds[i][3]);
      const text = `${kept} of ${CODE_SIZE} numbers explain ${percent(1 - parts[i].shares[kept - 1])}`;
      parts[i].line.textContent = text;
      const rows = parts[i].shares.map((share, k) => ({ name: `${k + 1}`, share: 1 - share, text: percent(1 - share), class: `${kinds[i][3]}${k + 1 === kept ? " chosen" : ""}` }));
      bars(parts[i].errors, `${parts[i].title}, share explained by the first numbers`, rows);
      return `${parts[i].title}: ${text}`;
    });
    say(texts.join(". "));
  }
  const slider = stops("Numbers kept", Array.from({ length: CODE_SIZE }, (_, i) => i + 1), kept - 1, (value) => {
    kept = value;
    show();
  }, (value) => `${value} of ${CODE_SIZE}`);
  host.append(
    h("div", { class: "learn-controls" }, slider.node,
      h("button", { type: "button", class: "learn-button", text: "Another curve", onclick: () => { curveSeed += 1; show(); } }),
      h("button", { type: "button", class: "learn-button", text: "Train both again", onclick: () => { seed += 1; train(); } })),
    h("div", { class: "learn-pair" }, ...parts.map((part) => h("div", {}, h("b", { text: part.title }), part.chart, part.line,
      h("p", { class: "learn-caption", text: "Explained by the first 1, 2, ... 8 numbers, over 64 new curves" }), part.errors))),
    h("p", { class: "learn-note", text: "Trained just now, in this page: linear encoder and decoder, 400 steps, curves neither has seen since. Grey is the curve itself." }),
  );
  train();
  realDropout(host, env);
}

/** The same with real video: a model trained without nested dropout if there is one, else the curve of ours. */
function realDropout(host, { clips, baked, content, say }) {
  host.append(h("h4", { text: "The same with real video" }));
  const data = baked.noDropout;
  if (!data) {
    const chart = h("div");
    const values = Object.entries(content.curve);
    const low = Math.min(...values.map(([, psnr]) => psnr)) - 3;
    const high = Math.max(...values.map(([, psnr]) => psnr));
    bars(chart, "PSNR by tokens kept", values.map(([k, psnr]) => ({ name: `k = ${k}`, share: (psnr - low) / (high - low), text: `${psnr.toFixed(1)} dB` })));
    host.append(h("p", { text: "Our video model was trained with nested dropout: every prefix of its registers decodes to the whole clip. How much each doubling adds is measured here." }), chart,
      h("p", { class: "learn-note", text: "Mean over Toybox test clips. A model trained without nested dropout is not part of this copy." }));
    return;
  }
  const clip = clips.get(data.clip);
  const films = filmsOf(clip);
  const [original, ...shown] = ["Original", "With nested dropout", "Without it"].map(films.add);
  original.show({ url: clip.source, frames: clip.numFrames });
  const chart = h("div");
  const slider = stops("Tokens kept of each latent frame", data.models[0].results.map((r) => r.k), 2, (k) => {
    const results = data.models.map((model) => model.results.find((r) => r.k === k));
    results.forEach((result, i) => shown[i].show({ url: result.sprite, frames: result.frames, line: `${result.curve.toFixed(1)} dB over ${data.clips} clips` }));
    say(`k = ${k}: with nested dropout ${results[0].curve} dB, without ${results[1].curve} dB`);
  }, (k) => `k = ${k}`);
  const all = data.models.flatMap((model) => model.results.map((r) => r.curve));
  const [low, high] = [Math.min(...all) - 1, Math.max(...all)];
  bars(chart, "PSNR by tokens kept", data.models[0].results.flatMap((result, i) => data.models.map((model, m) => {
    const { curve } = model.results[i];
    return { name: m ? "without" : `k = ${result.k}`, share: (curve - low) / (high - low), text: `${curve.toFixed(1)} dB`, class: m ? "grid" : "" };
  })));
  host.append(slider.node, filmRow(original, ...shown), films.bar, chart,
    h("p", { class: "learn-note", text: `Two of our small models, the same networks. ${data.note}` }));
  slider.update();
}

function meaningWidget(host, { clips, baked, say }) {
  const measures = [["layout", "Layout of colours"], ["motion", "Where things move"], ["detail", "Fine detail"]];
  const names = [...clips.keys()];
  const chart = h("div");
  const cache = new Map();
  let clip = clips.get(baked.probes.clip);

  function parts(of, url) {
    if (!cache.has(url)) {
      cache.set(url, spritePixels(url, of.size, of.numFrames).then((frames) => frames.map((frame) => splitBlocks(frame, of.size))));
    }
    return cache.get(url);
  }
  async function likenessOf(of, k) {
    return likeness(...(await Promise.all([parts(of, of.source), parts(of, firstRegister(of, k).sprite)])));
  }
  async function show(k) {
    const of = clip;
    const found = await likenessOf(of, k);
    if (of !== clip) return;
    bars(chart, `Likeness to the original at k = ${k}`, measures.map(([key, name]) => ({ name, share: found[key], text: `${Math.round(100 * found[key])}` })));
    caption.textContent = `Likeness to the original at k = ${k} (100: the same pattern)`;
    say(chart.getAttribute("aria-label"));
  }
  const caption = h("p", { class: "learn-caption" });
  const place = h("div", { class: "player" });
  const holder = h("div", {}, place);
  const picker = h("select", { class: "learn-button", "aria-label": "Clip", onchange: () => {
    clip = clips.get(picker.value);
    handle.show(clip);
  } }, ...names.map((name) => new Option(clips.get(name).title, name, false, clips.get(name) === clip)));
  host.append(h("label", { class: "learn-stops" }, h("span", { text: "Clip" }), picker), holder, caption, chart);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const props = { value: clip, parts: ["transport", "budget", "views"], start: { wanted: 1, view: "wipe", frame: still ? 8 : 0 }, onChange: show };
  const handle = mountPlayer(holder, props, () => {}, () => {}, {});
  editedFilms(host, clips.get(baked.probes.clip), baked.probes.edit);
  return {
    answer: async () => {
      const of = clips.get(baked.probes.clip);
      const found = await likenessOf(of, 1);
      const values = measures.map(([key]) => found[key]);
      const index = values.indexOf(Math.min(...values));
      const list = measures.map(([key, name]) => `${name.toLowerCase()} ${Math.round(100 * found[key])}`).join(", ");
      return { index, why: `Measured on this clip at k = 1, as likeness to the original: ${list}.` };
    },
  };
}

/** The paper's probe: few tokens of a clip, decoded after its first frame was given other colours. */
function editedFilms(host, clip, edit) {
  const films = filmsOf(clip);
  const original = films.add("Tokens come from this clip");
  original.show({ url: clip.source, frames: clip.numFrames });
  const shown = edit.results.map((result) => {
    const film = films.add(`k = ${result.k}, edited first frame`);
    film.show({ url: result.sprite, frames: result.frames, line: `${result.k * clip.latentFrames} tokens` });
    return film;
  });
  host.append(h("h4", { text: "Keep the tokens, edit the first frame" }),
    h("p", { text: "A probe from the paper: the decoder is given a first frame in other colours, and only a few tokens of the original for the rest. What moves comes from the tokens, what it looks like from the frame." }),
    filmRow(original, ...shown), films.bar,
    h("p", { class: "learn-note", text: "The decoder has seen given first frames in training, but never tokens of another clip than the frame's; the same holds for the paper's model." }));
}

function decoderWidget(host, { clips, baked, say }) {
  const clip = clips.get(baked.probes.clip);
  const rows = baked.probes.seeds;
  const films = filmsOf(clip);
  const original = films.add("Original");
  original.show({ url: clip.source, frames: clip.numFrames });
  const seeds = rows[0].seeds.map((seed) => films.add(seed.title));
  const spread = films.add("Where they differ");
  const chart = h("div");
  const most = Math.max(...rows.map((row) => row.meanSpread));
  const slider = stops("Tokens kept of each latent frame", rows, 0, (row) => {
    row.seeds.forEach((seed, i) => seeds[i].show({ url: seed.sprite, frames: seed.frames, line: `PSNR ${seed.psnr.toFixed(1)} dB` }));
    spread.show({ url: row.spread, frames: row.frames, against: "", line: `${row.meanSpread.toFixed(1)} of 255 levels` });
    bars(chart, "Deviation between seeds", rows.map((one) => ({ name: `k = ${one.k}`, share: one.meanSpread / most, text: `${one.meanSpread.toFixed(1)} levels`, class: one === row ? "chosen" : "" })));
    say(`k = ${row.k}: the four seeds deviate by ${row.meanSpread.toFixed(1)} levels on average.`);
  }, (row) => `k = ${row.k}: ${row.k * clip.latentFrames} tokens`);
  host.append(slider.node, filmRow(original, ...seeds, spread), films.bar,
    h("p", { class: "learn-caption", text: "Deviation between the four seeds, mean of all pixels" }), chart);
  slider.update();
  const index = rows.map((row) => row.meanSpread).indexOf(most);
  return { answer: () => ({ index, why: `Measured on this clip: ${rows.map((row) => `${row.meanSpread.toFixed(1)} levels at k = ${row.k}`).join(", ")}.` }) };
}

function budgetWidget(host, { content, say }) {
  const last = content.tokenizers.length - 1;
  const state = { frames: 81, k: 32, model: content.tokenizers[last] };
  const [table, squares, line] = [h("table", { class: "learn-table" }), svg("svg"), h("p", { class: "learn-line" })];
  const frames = h("input", { type: "number", min: 1, max: 1025, step: 4, value: state.frames, "aria-label": "Video frames" });
  const k = h("input", { type: "number", min: 1, max: state.model.k, step: 1, value: state.k, "aria-label": "Tokens per latent frame" });

  function show() {
    const { model } = state;
    const found = budgetOf(state.frames, state.k, model.k, model.bits);
    const row = (name, part, text = count) => h("tr", {}, h("th", { scope: "row", text: name }), h("td", { text: text(found.flexible[part]) }), h("td", { text: text(found.grid[part]) }), h("td", { text: `${+(found.grid[part] / found.flexible[part]).toFixed(1)}x` }));
    const side = Math.sqrt(model.k);
    table.replaceChildren(
      h("caption", { text: `${state.frames} frames with a tokenizer of ${model.k} tokens per latent frame, ${model.bits} bits each` }),
      h("thead", {}, h("tr", {}, ...["", `first ${state.k}`, `${side}x${side} grid`, "grid / flexible"].map((text) => h("th", { scope: "col", text })))),
      h("tbody", {}, row("latent frames", "latentFrames"), row("tokens", "tokens"), row("bytes", "bytes"), row("attention pairs", "pairs")),
    );
    const share = Math.max(found.flexible.tokens / found.grid.tokens, 0.004);
    squares.setAttribute("viewBox", "0 0 100 100");
    squares.setAttribute("class", "learn-squares");
    squares.setAttribute("role", "img");
    squares.setAttribute("aria-label", `Attention pairs as areas: the flexible tokens take ${percent(share * share)} of the grid's`);
    squares.replaceChildren(svg("rect", { width: 100, height: 100, class: "grid" }), svg("rect", { y: 100 - 100 * share, width: 100 * share, height: 100 * share, class: "registers" }));
    const afford = found.gridLatentFrames
      ? `${found.gridLatentFrames} latent frame${found.gridLatentFrames > 1 ? "s" : ""}, which are ${found.gridFrames} of ${state.frames} frames`
      : "not even one latent frame";
    line.textContent = `With ${count(found.flexible.tokens)} tokens the grid pays for ${afford}.`;
    say(`${count(found.flexible.tokens)} tokens against ${count(found.grid.tokens)}. ${line.textContent}`);
  }
  function set(changes) {
    Object.assign(state, changes);
    state.frames = Math.min(Math.max(Math.round(state.frames) || 1, 1), 1025);
    state.k = Math.min(Math.max(Math.round(state.k) || 1, 1), state.model.k);
    [frames.value, k.value, k.max] = [state.frames, state.k, state.model.k];
    show();
  }
  frames.addEventListener("change", () => set({ frames: Number(frames.value) }));
  k.addEventListener("change", () => set({ k: Number(k.value) }));
  const preset = (text, changes) => h("button", { type: "button", class: "learn-button", text, onclick: () => set(changes) });
  const models = h("select", { class: "learn-button", "aria-label": "Tokenizer", onchange: () => set({ model: content.tokenizers[Number(models.value)] }) },
    ...content.tokenizers.map((model, i) => new Option(`${model.id} (K = ${model.k})`, i, false, i === last)));
  host.append(
    h("div", { class: "learn-controls" }, h("label", { class: "learn-field" }, h("span", { text: "Video frames" }), frames),
      h("label", { class: "learn-field" }, h("span", { text: "Tokens per latent frame, k" }), k), h("label", { class: "learn-field" }, h("span", { text: "Tokenizer" }), models)),
    h("div", { class: "learn-controls" }, preset("The paper's long video", { frames: 81, k: 32, model: content.tokenizers[last] }),
      preset("One chunk, k = 16", { frames: 17, k: 16 }), preset("A minute at 8 frames a second, k = 1", { frames: 481, k: 1 })),
    h("div", { class: "learn-pair budget" }, h("div", {}, h("div", { class: "learn-scroll", tabindex: 0, role: "region", "aria-label": "Costs" }, table), line), h("figure", { class: "learn-film" }, squares, h("figcaption", {}, h("b", { text: "Attention pairs as areas" }), h("span", { text: "small square: flexible; large: grid" })))),
  );
  show();
}

function orderWidget(host, { clips, baked, say }) {
  const clip = clips.get(baked.probes.clip);
  const { latentFrames, maxK } = clip;
  const total = latentFrames * maxK;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const films = filmsOf(clip);
  const [first, byFrame] = ["Time first", "Frame by frame"].map(films.add);
  const [boardFirst, boardFrame, line] = [svg("svg"), svg("svg"), h("p", { class: "learn-line" })];
  let [written, timer, speak] = [4 * latentFrames, 0, true];

  function show() {
    const column = (t) => Math.floor(written / latentFrames) + (t < written % latentFrames ? 1 : 0);
    boards(boardFirst, latentFrames, 1, maxK, "registers", (t, cell) => cell < column(t));
    boards(boardFrame, latentFrames, 1, maxK, "grid", (t, cell) => t * maxK + cell < written);
    const k = Math.floor(written / latentFrames);
    const result = firstRegister(clip, k);
    first.show(result
      ? { url: result.sprite, frames: result.frames, line: `all ${clip.numFrames} frames, from the first ${result.k} of ${maxK} tokens` }
      : { url: "", frames: 0, empty: "nothing yet", line: `one token of each of ${latentFrames} latent frames is needed` });
    const done = Math.floor(written / maxK);
    const part = done >= latentFrames ? { ...firstRegister(clip, maxK) } : baked.probes.frameByFrame[done - 1];
    byFrame.show(part
      ? { url: part.sprite, frames: part.frames, line: `${part.frames} of ${clip.numFrames} frames, all tokens` }
      : { url: "", frames: 0, empty: "nothing yet", line: `the first latent frame needs ${maxK} tokens` });
    const [t, i] = timeFirst(Math.max(written - 1, 0), latentFrames);
    const [u, j] = frameByFrame(Math.max(written - 1, 0), maxK);
    line.textContent = written
      ? `Token ${written} of ${total}. Time first: token ${i + 1} of latent frame ${t + 1}. Frame by frame: token ${j + 1} of latent frame ${u + 1}.`
      : "Nothing is written yet.";
    if (speak) say(line.textContent);
  }
  const slider = h("input", { type: "range", min: 0, max: total, step: 1, value: written, "aria-label": "Tokens written" });
  slider.addEventListener("input", () => {
    stop();
    written = Number(slider.value);
    show();
  });
  const write = h("button", { type: "button", class: "learn-button", text: "▶ write" });
  function stop() {
    clearInterval(timer);
    [timer, speak] = [0, true];
    write.textContent = "▶ write";
  }
  write.addEventListener("click", () => {
    if (timer) {
      stop();
      return show();
    }
    if (written >= total) written = 0;
    write.textContent = "❚❚ stop";
    speak = false;
    timer = setInterval(() => {
      if (!host.isConnected) return stop();
      written = Math.min(written + (still ? latentFrames : 1), total);
      slider.value = written;
      if (written >= total) stop();
      show();
    }, still ? 600 : 70);
  });
  host.append(
    h("div", { class: "learn-controls" }, write, h("label", { class: "learn-stops" }, h("span", { text: "Tokens written" }), slider)), line,
    h("div", { class: "learn-pair" },
      h("div", {}, h("b", { text: "Time first" }), boardFirst, first.node),
      h("div", {}, h("b", { text: "Frame by frame" }), boardFrame, byFrame.node)),
    films.bar,
    h("p", { class: "learn-note", text: "Each board has a row for each latent frame and a column for each token. Both orders write the same tokens of the same model." }),
  );
  show();
}

const LEARN_WIDGETS = {
  price: priceWidget,
  registers: registersWidget,
  dropout: dropoutWidget,
  meaning: meaningWidget,
  decoder: decoderWidget,
  budget: budgetWidget,
  order: orderWidget,
};
