// Pictures of the player: a sprite is one picture with all frames of a clip side by side.

class Sprites {
  /** `onReady` is called whenever a picture has arrived. */
  constructor(onReady) {
    this.onReady = onReady;
    this.images = new Map(); // URL -> {image, ready}
    this.scratch = document.createElement("canvas");
    this.size = 0; // pixels of a side of a frame
  }

  forget() {
    this.images.clear();
  }

  get(url) {
    if (!this.images.has(url)) {
      const image = new Image();
      const entry = { image, ready: false };
      image.onload = () => {
        entry.ready = true;
        this.onReady();
      };
      image.src = url;
      this.images.set(url, entry);
    }
    return this.images.get(url);
  }

  /** Fill a canvas with one frame of a sprite; it says "not encoded" where the clip is too short. */
  drawFrame(canvas, url, frames, frame) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    if (frame >= frames) {
      context.fillStyle = "#777";
      context.fillRect(0, 0, width, height);
      context.fillStyle = "#fff";
      context.textAlign = "center";
      context.font = `${Math.max(Math.round(height / 9), 9)}px sans-serif`;
      context.fillText("not encoded", width / 2, height / 2);
      return;
    }
    const entry = this.get(url);
    if (entry.ready) context.drawImage(entry.image, frame * this.size, 0, this.size, this.size, 0, 0, width, height);
  }

  /** RGBA of one frame, or null while the picture is on its way. */
  pixels(url, frame) {
    const entry = this.get(url);
    if (!entry.ready) return null;
    const size = this.size;
    const context = this._scratch();
    context.drawImage(entry.image, frame * size, 0, size, size, 0, 0, size, size);
    return context.getImageData(0, 0, size, size).data;
  }

  /** Fill a canvas with the RGBA of a frame. */
  drawPixels(canvas, rgba) {
    this._scratch().putImageData(new ImageData(rgba, this.size, this.size), 0, 0);
    canvas.getContext("2d").drawImage(this.scratch, 0, 0, canvas.width, canvas.height);
  }

  _scratch() {
    this.scratch.width = this.scratch.height = this.size;
    return this.scratch.getContext("2d", { willReadFrequently: true });
  }
}

/** Small pictures are enlarged smoothly: squares of pixels hide what is in them. Who wants to see pixels can. */
function smoothing(canvas, squares) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = !squares;
  context.imageSmoothingQuality = "high";
}
