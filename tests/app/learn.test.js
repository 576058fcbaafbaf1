// Run by tests/app/test_learn.py: node --test tests/app/learn.test.js
const test = require("node:test");
const assert = require("node:assert");
const math = require("../../app/learn/learn_math.js");
const learn = require("../../app/learn/learn.js");

test("81 frames cost 672 tokens where a grid takes 5,376", () => {
  const found = math.budgetOf(81, 32, 256, 16);
  assert.deepEqual(found.flexible, { latentFrames: 21, tokens: 672, bytes: 1344, pairs: 451584 });
  assert.deepEqual(found.grid, { latentFrames: 21, tokens: 5376, bytes: 10752, pairs: 28901376 });
  assert.equal(found.grid.pairs / found.flexible.pairs, 64);
  assert.deepEqual([found.gridLatentFrames, found.gridFrames], [2, 5]);
  assert.deepEqual([17, 33, 81, 1].map((frames) => math.latentFramesOf(frames)), [5, 9, 21, 1]);
  assert.equal(math.budgetOf(17, 16, 64, 10).flexible.bytes, 100);
  assert.deepEqual(math.budgetOf(17, 64, 64, 10).gridFrames, 17);
});

test("time first is token 1 of every latent frame, then token 2 of every latent frame", () => {
  const order = Array.from({ length: 6 }, (_, n) => math.timeFirst(n, 2));
  assert.deepEqual(order, [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]]);
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((n) => math.frameByFrame(n, 3)), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
});

test("nested dropout puts what matters in front, and costs little at the full length", () => {
  for (const seed of [1, 2, 3]) {
    const [nested, plain] = [true, false].map((on) => math.toyErrors(math.trainToy(on, seed), 99));
    for (const kept of [2, 3, 4]) assert.ok(nested[kept - 1] < 0.8 * plain[kept - 1], `seed ${seed}, ${kept} numbers`);
    assert.ok(nested[7] < 0.05 && plain[7] < 0.05);
    for (let i = 1; i < 8; i++) assert.ok(nested[i] <= nested[i - 1] + 0.01);
  }
});

test("the same seed trains the same network", () => {
  assert.deepEqual(math.trainToy(true, 5, 20), math.trainToy(true, 5, 20));
});

const picture = (size, colour) => Uint8ClampedArray.from({ length: size * size * 4 }, (_, i) => colour(Math.floor(i / 4) % size, Math.floor(i / 4 / size), i % 4));

test("likeness tells layout, motion and detail apart", () => {
  const square = (at) => picture(16, (x, y) => (Math.floor(x / 4) === at ? 200 + 40 * ((x + y) % 2) : 30));
  const source = [0, 1, 2, 3].map(square);
  const likeness = (a, b) => math.likeness(...[a, b].map((clip) => clip.map((frame) => math.splitBlocks(frame, 16, 4))));
  const same = likeness(source, source);
  assert.ok(Object.values(same).every((value) => value > 0.999));
  const smooth = source.map((_, at) => picture(16, (x) => (Math.floor(x / 4) === at ? 220 : 30)));
  const found = likeness(source, smooth);
  assert.ok(found.layout > 0.99 && found.motion > 0.99 && found.detail < 0.1);
  const frozen = likeness(source, source.map(() => source[0]));
  assert.equal(frozen.motion, 0);
});

test("the changed share counts pixels that differ visibly", () => {
  const [a, b] = [picture(4, () => 100), picture(4, (x) => (x < 1 ? 150 : 104))];
  assert.equal(math.changedShare(a, b), 0.25);
  assert.equal(math.changedShare(a, a), 0);
});

test("links hold the step and the teacher mode, and leave the rest alone", () => {
  assert.deepEqual(learn.learnPlace("?tab=learn&step=3", 7), { step: 2, teacher: false });
  for (const wrong of ["", "?step=0", "?step=8", "?step=x", "?step=-1", "?step=1e9"]) assert.equal(learn.learnPlace(wrong, 7).step, 0);
  const query = learn.learnQuery("?k=7&teacher=1", { step: 4, teacher: false });
  assert.equal(query, "?k=7&tab=learn&step=5");
  assert.deepEqual(learn.learnPlace(learn.learnQuery("", { step: 6, teacher: true }), 7), { step: 6, teacher: true });
});
