// The strip of a clip's tokens: a row for each latent frame, a column for each register; click to change one.
//
// One file, no build step; the module beside it puts it in front of a call of `mountStrip`, and
// tests/app/token_strip.test.js runs the functions above that under node.
//
// A value: {ids: [[id]], edited: [[id]], levels: [number], k, numFrames, ratio, edits: [{operation, frame, register}]}.
// A click triggers `input` with {edits}: the page's whole list, for the server to apply.

const TOOLS = {
  mute: ["Mute", "the code 0: says as little as a token can"],
  resample: ["Resample", "another id, drawn from the codebook"],
  perturb: ["Perturb", "one dimension of the code, one level up or down"],
  restore: ["Restore", "as the encoder wrote it"],
};
const MAX_EDITS = 200;

/** Level indices of an id, dimension 0 fastest. */
function digits(id, levels) {
  const found = [];
  let rest = id;
  for (const level of levels) {
    found.push(rest % level);
    rest = Math.floor(rest / level);
  }
  return found;
}

/** Colour of an id: near codes look alike. */
function colour(id, levels) {
  const share = digits(id, levels).map((digit, i) => digit / Math.max(levels[i] - 1, 1));
  const [hue, light, rich] = [share[0] || 0, share[1] ?? 0.5, share[2] ?? 0.5];
  return `hsl(${Math.round(hue * 290)} ${Math.round(35 + rich * 50)}% ${Math.round(32 + light * 40)}%)`;
}

/** Pixel frames of a latent frame, in words. */
function framesOf(latent, ratio, numFrames) {
  if (latent === 0) return "frame 1";
  const first = 2 + (latent - 1) * ratio;
  const last = Math.min(first + ratio - 1, numFrames);
  if (first > numFrames) return "padding";
  return first === last ? `frame ${first}` : `frames ${first}-${last}`;
}

/** What a cell is, in words. */
function describe(value, t, i) {
  const [was, is] = [value.ids[t][i], value.edited[t][i]];
  const change = was === is ? "" : `, was ${was}`;
  const kept = i < value.k ? "" : `; not used at k = ${value.k}`;
  return `latent frame ${t + 1} (${framesOf(t, value.ratio, value.numFrames)}), register ${i + 1}: id ${is}${change}, code (${digits(is, value.levels).join(", ")})${kept}`;
}

/** How many tokens among the first k of each latent frame differ from the encoder's. */
function numChanged(value) {
  let changed = 0;
  value.ids.forEach((row, t) => row.slice(0, value.k).forEach((id, i) => (changed += id !== value.edited[t][i])));
  return changed;
}

function mountStrip(element, props, watch, trigger) {
  const uid = (window.flextokStrips = (window.flextokStrips || 0) + 1);
  const root = make("div");
  const attach = () => element.querySelector(".token-strip").replaceChildren(root);
  attach();
  let value = null;
  let edits = [];
  let tool = "mute";
  let focused = [0, 0];

  const bar = make("div", "tools");
  const group = make("div", "tool-group");
  group.setAttribute("role", "radiogroup");
  group.setAttribute("aria-label", "What a click does");
  for (const [name, [title, what]] of Object.entries(TOOLS)) {
    const label = make("label");
    label.title = what;
    const radio = make("input");
    Object.assign(radio, { type: "radio", name: `token-tool-${uid}`, value: name, checked: name === tool });
    radio.addEventListener("change", () => {
      tool = name;
      root.dataset.tool = name;
      hint.textContent = `${title}: ${what}.`;
    });
    label.append(radio, make("span", "", title));
    group.append(label);
  }
  const undo = make("button", "undo", "Undo");
  const reset = make("button", "reset", "Undo all");
  for (const button of [undo, reset]) button.type = "button";
  bar.append(group, undo, reset);
  const hint = make("p", "hint", `${TOOLS.mute[0]}: ${TOOLS.mute[1]}.`);
  const scroller = make("div", "scroller");
  const grid = make("div", "grid");
  grid.setAttribute("role", "grid");
  grid.setAttribute("aria-label", "Token ids: a row for each latent frame, a column for each register; arrows move, Enter changes a token, c its register in all frames, r its latent frame");
  scroller.append(grid);
  const about = make("p", "about");
  about.setAttribute("aria-live", "polite");
  root.append(bar, hint, scroller, about);

  let sent = 0; // answers to earlier clicks must not take back later ones
  function send(changed) {
    edits = changed;
    sent += 1;
    root.dataset.edits = edits.length;
    undo.disabled = reset.disabled = edits.length === 0;
    trigger("input", { edits, turn: sent });
  }

  function press(frame, register) {
    if (edits.length >= MAX_EDITS) {
      about.textContent = `That is the ${MAX_EDITS}th edit; undo some first.`;
      return;
    }
    send([...edits, { operation: tool, frame, register }]);
  }

  function build() {
    const [rows, columns] = [value.ids.length, value.ids[0].length];
    grid.style.setProperty("--columns", columns);
    const cells = [];
    const head = make("div", "row");
    head.setAttribute("role", "row");
    head.append(make("span", "corner", ""));
    for (let i = 0; i < columns; i++) {
      const button = make("button", "column", (i + 1) % 8 === 0 || i === 0 ? i + 1 : "");
      Object.assign(button, { type: "button", title: `All latent frames of register ${i + 1}`, tabIndex: -1 });
      button.setAttribute("aria-label", button.title);
      button.addEventListener("click", () => press(null, i));
      head.append(button);
    }
    cells.push(head);
    for (let t = 0; t < rows; t++) {
      const row = make("div", "row");
      row.setAttribute("role", "row");
      const name = make("button", "row-name", framesOf(t, value.ratio, value.numFrames));
      Object.assign(name, { type: "button", title: `All registers of latent frame ${t + 1}`, tabIndex: -1 });
      name.addEventListener("click", () => press(t, null));
      row.append(name);
      for (let i = 0; i < columns; i++) {
        const cell = make("div", "cell");
        cell.setAttribute("role", "gridcell");
        Object.assign(cell.dataset, { t, i });
        cell.tabIndex = t === focused[0] && i === focused[1] ? 0 : -1;
        row.append(cell);
      }
      cells.push(row);
    }
    grid.replaceChildren(...cells);
  }

  const cellAt = (t, i) => grid.querySelector(`.cell[data-t="${t}"][data-i="${i}"]`);

  function paint() {
    for (const cell of grid.querySelectorAll(".cell")) {
      const [t, i] = [Number(cell.dataset.t), Number(cell.dataset.i)];
      cell.style.background = colour(value.edited[t][i], value.levels);
      cell.classList.toggle("edited", value.edited[t][i] !== value.ids[t][i]);
      cell.classList.toggle("unused", i >= value.k);
      cell.setAttribute("aria-label", describe(value, t, i));
    }
    const changed = numChanged(value);
    const kept = value.k * value.ids.length;
    about.textContent = changed
      ? `${changed} of the ${kept} kept tokens are changed.`
      : `${kept} tokens are kept, none is changed. They are read time first: column by column, so that the first columns alone are a whole clip.`;
    undo.disabled = reset.disabled = edits.length === 0;
    root.dataset.changed = changed;
    root.dataset.edits = edits.length;
    root.dataset.k = value.k;
  }

  function show(next) {
    if (!next || !next.ids) return;
    const same = value && value.ids.length === next.ids.length && value.ids[0].length === next.ids[0].length;
    value = next;
    if (!next.turn || next.turn === sent) edits = next.edits || [];
    if (!same) {
      focused = [0, 0];
      build();
    }
    paint();
    root.dataset.ready = next.version;
  }

  grid.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    move(Number(cell.dataset.t), Number(cell.dataset.i));
    press(...focused);
  });
  grid.addEventListener("pointerover", (event) => {
    const cell = event.target.closest(".cell");
    if (cell) hint.textContent = describe(value, Number(cell.dataset.t), Number(cell.dataset.i));
  });
  function move(t, i) {
    const old = cellAt(...focused);
    if (old) old.tabIndex = -1;
    focused = [Math.min(Math.max(t, 0), value.ids.length - 1), Math.min(Math.max(i, 0), value.ids[0].length - 1)];
    const cell = cellAt(...focused);
    cell.tabIndex = 0;
    cell.focus();
    hint.textContent = describe(value, ...focused);
  }
  grid.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("cell") || event.ctrlKey || event.metaKey || event.altKey) return;
    const [t, i] = focused;
    const keys = {
      ArrowLeft: () => move(t, i - 1),
      ArrowRight: () => move(t, i + 1),
      ArrowUp: () => move(t - 1, i),
      ArrowDown: () => move(t + 1, i),
      Home: () => move(t, 0),
      End: () => move(t, value.k - 1),
      Enter: () => press(t, i),
      " ": () => press(t, i),
      c: () => press(null, i),
      r: () => press(t, null),
    };
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  });
  undo.addEventListener("click", () => send(edits.slice(0, -1)));
  reset.addEventListener("click", () => send([]));
  root.dataset.tool = tool;
  watch("value", () => {
    const inside = grid.contains(document.activeElement);
    attach();
    show(props.value);
    if (inside && value) cellAt(...focused).focus();
  });
  show(props.value);
}

if (typeof module !== "undefined") {
  module.exports = { colour, describe, digits, framesOf, numChanged };
}
