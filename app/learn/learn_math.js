// Arithmetic of the Learn steps: budgets, token orders, a network that trains in the browser, likeness of clips.
// Pure functions, tested under node (tests/app/learn.test.js); they use nothing of the page.

/** Latent frames of a clip: the first stands for one video frame, every other one for `ratio`. */
function latentFramesOf(numFrames, ratio = 4) {
  return 1 + Math.ceil((numFrames - 1) / ratio);
}

/** Cost of `latentFrames` x `k` tokens. */
function cost(latentFrames, k, bits) {
  const tokens = latentFrames * k;
  return { latentFrames, tokens, bytes: Math.ceil((tokens * bits) / 8), pairs: tokens * tokens };
}

/** A flexible tokenizer beside a grid of `gridK` cells, and how far the grid gets with the same tokens. */
function budgetOf(numFrames, k, gridK, bits) {
  const latentFrames = latentFramesOf(numFrames);
  const flexible = cost(latentFrames, k, bits);
  const affordable = Math.min(Math.floor(flexible.tokens / gridK), latentFrames);
  return {
    flexible,
    grid: cost(latentFrames, gridK, bits),
    gridLatentFrames: affordable,
    gridFrames: affordable ? Math.min(1 + (affordable - 1) * 4, numFrames) : 0,
  };
}

/** (latent frame, token), from 0, of the n-th token (from 0). Time first: token 1 of every frame, then token 2, ... */
function timeFirst(n, latentFrames) {
  return [n % latentFrames, Math.floor(n / latentFrames)];
}

/** (latent frame, token) of the n-th token when every frame is finished before the next one begins. */
function frameByFrame(n, k) {
  return [Math.floor(n / k), n % k];
}

/** Random numbers in [0, 1) that are the same for the same seed (mulberry32). */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const CURVE_POINTS = 32;
const CODE_SIZE = 8;

/** A smooth curve of CURVE_POINTS values: 8 waves, slow ones larger than fast ones. */
function smoothCurve(random) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const weights = Array.from({ length: CODE_SIZE }, (_, i) => normal() * 0.72 ** i);
  return Array.from({ length: CURVE_POINTS }, (_, x) =>
    weights.reduce((sum, w, i) => sum + w * Math.cos(((i + 1) * Math.PI * (x + 0.5)) / CURVE_POINTS), 0),
  );
}

/**
 * Train a linear encoder and decoder of CODE_SIZE numbers by gradient descent (Adam).
 * With `nested`, every step keeps a random prefix of the numbers and sets the others to zero.
 */
function trainToy(nested, seed, steps = 400, batch = 16) {
  const random = randomFrom(seed);
  const size = CURVE_POINTS * CODE_SIZE;
  const weights = Array.from({ length: 2 * size }, () => (random() - 0.5) * 0.3); // encoder, then decoder
  const [mean, square] = [new Float64Array(2 * size), new Float64Array(2 * size)];
  const rate = (step) => 0.02 * Math.min(1, (2 * (steps - step)) / steps);
  for (let step = 1; step <= steps; step++) {
    const kept = nested ? 1 + Math.floor(random() * CODE_SIZE) : CODE_SIZE;
    const gradient = new Float64Array(2 * size);
    for (let b = 0; b < batch; b++) addGradient(weights, smoothCurve(random), kept, gradient);
    for (let i = 0; i < weights.length; i++) {
      const g = gradient[i] / batch;
      mean[i] = 0.9 * mean[i] + 0.1 * g;
      square[i] = 0.99 * square[i] + 0.01 * g * g;
      const unbiased = mean[i] / (1 - 0.9 ** step) / (Math.sqrt(square[i] / (1 - 0.99 ** step)) + 1e-8);
      weights[i] -= rate(step) * unbiased;
    }
  }
  return weights;
}

function encodeToy(weights, curve) {
  return Array.from({ length: CODE_SIZE }, (_, c) =>
    curve.reduce((sum, value, x) => sum + value * weights[c * CURVE_POINTS + x], 0),
  );
}

/** The curve that the first `kept` numbers give. */
function decodeToy(weights, code, kept) {
  const size = CURVE_POINTS * CODE_SIZE;
  return Array.from({ length: CURVE_POINTS }, (_, x) => {
    let sum = 0;
    for (let c = 0; c < kept; c++) sum += code[c] * weights[size + c * CURVE_POINTS + x];
    return sum;
  });
}

function addGradient(weights, curve, kept, gradient) {
  const size = CURVE_POINTS * CODE_SIZE;
  const code = encodeToy(weights, curve);
  const error = decodeToy(weights, code, kept).map((value, x) => (2 * (value - curve[x])) / CURVE_POINTS);
  for (let c = 0; c < kept; c++) {
    let back = 0;
    for (let x = 0; x < CURVE_POINTS; x++) {
      gradient[size + c * CURVE_POINTS + x] += error[x] * code[c];
      back += error[x] * weights[size + c * CURVE_POINTS + x];
    }
    for (let x = 0; x < CURVE_POINTS; x++) gradient[c * CURVE_POINTS + x] += back * curve[x];
  }
}

/** Mean squared error of prefixes of 1, 2, ... CODE_SIZE numbers, as a share of the curves' own variance. */
function toyErrors(weights, seed, count = 64) {
  const random = randomFrom(seed);
  const sums = new Array(CODE_SIZE).fill(0);
  let variance = 0;
  for (let n = 0; n < count; n++) {
    const curve = smoothCurve(random);
    const code = encodeToy(weights, curve);
    variance += curve.reduce((sum, v) => sum + v * v, 0);
    for (let kept = 1; kept <= CODE_SIZE; kept++) {
      decodeToy(weights, code, kept).forEach((v, x) => (sums[kept - 1] += (v - curve[x]) ** 2));
    }
  }
  return sums.map((sum) => sum / variance);
}

/** Share of pixels (RGBA pictures) that differ by more than `levels` on average over red, green and blue. */
function changedShare(a, b, levels = 12) {
  let changed = 0;
  for (let i = 0; i < a.length; i += 4) {
    const difference = Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2]);
    if (difference / 3 > levels) changed += 1;
  }
  return changed / (a.length / 4);
}

/** Pearson correlation of pairs that are added list by list; 0 where one side is constant. */
function correlationOf() {
  let [n, sumA, sumB, squareA, squareB, product] = [0, 0, 0, 0, 0, 0];
  return {
    add(a, b) {
      for (let i = 0; i < a.length; i++) {
        sumA += a[i];
        sumB += b[i];
        squareA += a[i] * a[i];
        squareB += b[i] * b[i];
        product += a[i] * b[i];
      }
      n += a.length;
    },
    value() {
      const [varianceA, varianceB] = [squareA - (sumA * sumA) / n, squareB - (sumB * sumB) / n];
      const product_ = product - (sumA * sumB) / n;
      return varianceA > 1e-6 && varianceB > 1e-6 ? product_ / Math.sqrt(varianceA * varianceB) : 0;
    },
  };
}

/** Mean colours of blocks x blocks of a square RGBA picture, and what is left inside the blocks. */
function splitBlocks(picture, size, blocks = 8) {
  const side = size / blocks;
  const means = new Float32Array(blocks * blocks * 3);
  const detail = new Float32Array(size * size * 3);
  for (let pass = 0; pass < 2; pass++) {
    for (let y = 0, i = 0, n = 0; y < size; y++) {
      const row = Math.floor(y / side) * blocks;
      for (let x = 0; x < size; x++, i += 4) {
        const block = 3 * (row + Math.floor(x / side));
        for (let c = 0; c < 3; c++, n++) {
          if (pass) detail[n] = picture[i + c] - means[block + c];
          else means[block + c] += picture[i + c] / (side * side);
        }
      }
    }
  }
  return { means, detail };
}

/** Likeness of two clips (lists of what `splitBlocks` gives), 0 to 1: layout of colours, where things move, fine detail. */
function likeness(source, other) {
  const [layout, motion, detail] = [correlationOf(), correlationOf(), correlationOf()];
  const moved = (clip, i) => clip[i].means.map((value, j) => Math.abs(value - clip[i - 1].means[j]));
  source.forEach((frame, i) => {
    layout.add(frame.means, other[i].means);
    detail.add(frame.detail, other[i].detail);
    if (i) motion.add(moved(source, i), moved(other, i));
  });
  const share = (correlation) => Math.max(correlation.value(), 0);
  return { layout: share(layout), motion: share(motion), detail: share(detail) };
}

if (typeof module !== "undefined") {
  module.exports = {
    budgetOf, changedShare, CODE_SIZE, correlationOf, cost, decodeToy, encodeToy, frameByFrame, latentFramesOf, likeness, randomFrom,
    smoothCurve, splitBlocks, timeFirst, toyErrors, trainToy,
  };
}
