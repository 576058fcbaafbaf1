// The crop box: drag it over a frame of the clip, or use the keyboard. Its value is "left,top,width,height" in
// fractions of the picture, empty for the middle square that is taken by itself.
//
// One file, no build step; the module beside it puts it in front of a call of `mountCropper`, and tests/app/cropper.test.js
// runs the functions above that under node.

const SMALLEST = 0.1; // of the shorter side

/** The square in the middle of a picture, as large as it gets: {left, top, size} in pixels. */
function middleSquare(width, height) {
  const size = Math.min(width, height);
  return { left: (width - size) / 2, top: (height - size) / 2, size };
}

/** A square kept inside a picture, neither too small nor too large. */
function inside(box, width, height) {
  const short = Math.min(width, height);
  const size = Math.min(Math.max(box.size, short * SMALLEST), short);
  return {
    left: Math.min(Math.max(box.left, 0), width - size),
    top: Math.min(Math.max(box.top, 0), height - size),
    size,
  };
}

/** Fractions, four decimals. */
function toText(box, width, height) {
  const round = (value) => Math.round(value * 1e4) / 1e4;
  return [box.left / width, box.top / height, box.size / width, box.size / height].map(round).join(",");
}

/** Inverse of `toText`; the middle square for an empty or wrong text. */
function fromText(text, width, height) {
  const parts = String(text || "").split(",").map(Number);
  if (parts.length !== 4 || !parts.every(Number.isFinite)) return middleSquare(width, height);
  return inside({ left: parts[0] * width, top: parts[1] * height, size: parts[2] * width }, width, height);
}

function mountCropper(element, props, watch, trigger) {
  const root = make("div");
  const attach = () => element.querySelector(".cropper").replaceChildren(root);
  attach();
  const frame = make("div", "frame");
  const image = make("img");
  image.alt = "A frame of the clip";
  image.draggable = false;
  const box = make("div", "box");
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  const corner = make("span", "corner");
  box.append(corner);
  frame.append(image, box);
  const bar = make("div", "bar");
  const about = make("span", "about");
  const middle = make("button", "", "Middle square");
  middle.type = "button";
  bar.append(about, middle);
  const empty = make("p", "empty", "The crop box appears here when a clip is chosen.");
  root.append(empty, frame, bar);
  let square = null; // in pixels of the picture
  let text = ""; // the value, ahead of props.value while the box is dragged
  let poster = "";

  const size = () => [image.naturalWidth, image.naturalHeight];
  function draw() {
    const [width, height] = size();
    if (!square || !width) return;
    const percent = (value, of) => `${(value / of) * 100}%`;
    Object.assign(box.style, {
      left: percent(square.left, width), top: percent(square.top, height),
      width: percent(square.size, width), height: percent(square.size, height),
    });
    const all = text ? `${Math.round((square.size / Math.min(width, height)) * 100)} % of the shorter side` : "the middle square";
    about.textContent = `Read: ${all}`;
    box.setAttribute("aria-label", `Crop box, ${all}; arrows move it, plus and minus change its size`);
    root.dataset.crop = text;
  }
  function choose(next) {
    square = inside(next, ...size());
    text = toText(square, ...size());
    draw();
  }
  /** Hand the value over; the component may then draw its template anew, which drops our node and the focus. */
  function done() {
    props.value = text;
    trigger("input");
    requestAnimationFrame(() => {
      if (root.isConnected) return;
      attach();
      box.focus();
    });
  }
  function show() {
    if (!root.isConnected) attach();
    text = props.value || "";
    const next = props.poster || "";
    empty.hidden = Boolean(next);
    frame.hidden = bar.hidden = !next;
    if (next && next !== poster) {
      image.onload = () => {
        square = fromText(text, ...size());
        draw();
      };
      image.src = next;
    } else if (next && image.naturalWidth) {
      square = fromText(text, ...size());
      draw();
    }
    poster = next;
  }

  let drag = null;
  box.addEventListener("pointerdown", (event) => {
    const scale = size()[0] / frame.getBoundingClientRect().width;
    drag = { x: event.clientX, y: event.clientY, start: { ...square }, resize: event.target === corner, scale };
    box.setPointerCapture(event.pointerId);
    event.preventDefault();
    box.focus();
  });
  box.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [(event.clientX - drag.x) * drag.scale, (event.clientY - drag.y) * drag.scale];
    const { start } = drag;
    if (drag.resize) choose({ ...start, size: Math.min(start.size + Math.max(dx, dy), size()[0] - start.left, size()[1] - start.top) });
    else choose({ left: start.left + dx, top: start.top + dy, size: start.size });
  });
  for (const name of ["pointerup", "pointercancel"]) {
    box.addEventListener(name, () => {
      if (drag) done();
      drag = null;
    });
  }
  box.addEventListener("keydown", (event) => {
    if (!square) return;
    const step = Math.min(...size()) * 0.04;
    const grow = (by) => ({ left: square.left - by / 2, top: square.top - by / 2, size: square.size + by });
    const moves = {
      ArrowLeft: () => ({ ...square, left: square.left - step }),
      ArrowRight: () => ({ ...square, left: square.left + step }),
      ArrowUp: () => ({ ...square, top: square.top - step }),
      ArrowDown: () => ({ ...square, top: square.top + step }),
      "+": () => grow(step), "=": () => grow(step), "-": () => grow(-step),
    };
    if (!moves[event.key]) return;
    choose(moves[event.key]());
    done();
    event.preventDefault();
  });
  middle.addEventListener("click", () => {
    text = "";
    square = middleSquare(...size());
    draw();
    done();
  });
  watch(["value", "poster"], show);
  show();
}

if (typeof module !== "undefined") {
  module.exports = { fromText, inside, middleSquare, SMALLEST, toText };
}
