// What the player works out without a page: tested under node (tests/app/player.test.js).

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

if (typeof module !== "undefined") {
  module.exports = { atBudget, budgetBelow, budgetLine, chartPoints, chartRange, DIFF_MAX, frameAt, heat, heatmap, latentTicks, spreadMap };
}
