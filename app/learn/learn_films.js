// Canvases of the Learn steps that play from one clock. Drawing uses the functions of player.js; pictures are sprites,
// all frames of a clip side by side.

const spriteImages = new Map(); // URL -> promise of an image

/** The image of a sprite; decoded once. */
function spriteImage(url) {
  if (!spriteImages.has(url)) {
    const image = new Image();
    image.src = url;
    spriteImages.set(url, image.decode().then(() => image));
  }
  return spriteImages.get(url);
}

/** All frames of a sprite as RGBA arrays. */
async function spritePixels(url, size, frames) {
  const image = await spriteImage(url);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [size * frames, size];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return Array.from({ length: frames }, (_, i) => context.getImageData(i * size, 0, size, size).data);
}

/**
 * Films that share a clock, a play button and a frame slider (`bar`). `add(title)` makes one; its `show` takes
 * {url, frames, line, against}: with `against` (a URL, or "" for a picture that is a difference already) a heatmap is drawn.
 */
function makeFilms({ numFrames, fps, size }) {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const state = { frame: still ? Math.floor(numFrames / 2) : 0, playing: !still, start: performance.now() };
  const films = [];
  const play = h("button", { type: "button", class: "learn-button" });
  const scrub = h("input", { type: "range", min: 0, max: numFrames - 1, "aria-label": "Frame" });
  const where = h("span", { class: "learn-where" });
  const bar = h("div", { class: "learn-bar" }, play, scrub, where);

  async function paint(film) {
    const { url, frames, against } = film.shown;
    const frame = state.frame;
    const context = film.canvas.getContext("2d");
    const side = film.canvas.width;
    context.imageSmoothingQuality = "high";
    if (!url || frame >= frames) {
      context.fillStyle = "#777";
      context.fillRect(0, 0, side, side);
      context.fillStyle = "#fff";
      context.textAlign = "center";
      context.font = `${side / 10}px sans-serif`;
      context.fillText(url || film.shown.empty === undefined ? "not encoded" : film.shown.empty, side / 2, side / 2);
      return;
    }
    if (against === undefined) {
      const image = await spriteImage(url);
      if (film.shown.url === url && state.frame === frame) context.drawImage(image, frame * size, 0, size, size, 0, 0, side, side);
      return;
    }
    const [a, b] = await Promise.all([film.pixels(url, frames), against ? film.pixels(against, frames) : null]);
    if (film.shown.url !== url || state.frame !== frame) return;
    const map = document.createElement("canvas");
    map.width = map.height = size;
    map.getContext("2d").putImageData(new ImageData(b ? heatmap(a[frame], b[frame]) : spreadMap(a[frame]), size, size), 0, 0);
    context.drawImage(map, 0, 0, side, side);
  }

  function draw() {
    scrub.value = state.frame;
    where.textContent = `${state.frame + 1}/${numFrames}`;
    play.textContent = state.playing ? "❚❚ pause" : "▶ play";
    bar.dataset.frame = state.frame;
    films.forEach(paint);
  }

  function add(title) {
    const canvas = h("canvas", { width: size * 3, height: size * 3, role: "img" });
    const [name, line] = [h("b", { text: title }), h("span")];
    const node = h("figure", { class: "learn-film" }, canvas, h("figcaption", {}, name, line));
    const cache = new Map();
    const film = { canvas, node, shown: { url: "", frames: 0 } };
    film.pixels = (url, frames) => {
      if (!cache.has(url)) cache.set(url, spritePixels(url, size, frames));
      return cache.get(url);
    };
    film.show = (shown) => {
      film.shown = shown;
      name.textContent = shown.title || title;
      line.textContent = shown.line || "";
      canvas.setAttribute("aria-label", `${name.textContent}. ${shown.line || ""}`);
      paint(film);
    };
    films.push(film);
    return film;
  }

  play.addEventListener("click", () => {
    state.playing = !state.playing;
    state.start = performance.now() - (state.frame / fps) * 1000;
    draw();
  });
  scrub.addEventListener("input", () => {
    Object.assign(state, { playing: false, frame: Number(scrub.value) });
    draw();
  });
  let attached = false;
  function tick(now) {
    if (attached && !bar.isConnected) return;
    attached = bar.isConnected;
    if (state.playing && bar.offsetParent && !document.hidden) {
      const frame = frameAt(now - state.start, fps, 1, numFrames, true);
      if (frame !== state.frame) {
        state.frame = frame;
        draw();
      }
    }
    requestAnimationFrame(tick);
  }
  requestAnimationFrame(tick);
  draw();
  return { bar, add };
}
