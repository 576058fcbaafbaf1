// Run by tests/app/test_player.py: node --test tests/app/token_strip.test.js
const test = require("node:test");
const assert = require("node:assert");
const strip = require("../../app/components/token_strip/token_strip.js");

const value = { ids: [[0, 5, 7], [1, 2, 3]], edited: [[0, 6, 8], [1, 2, 3]], levels: [8, 5], k: 2, ratio: 4, numFrames: 5 };

test("digits count in mixed radix, dimension 0 fastest", () => {
  assert.deepEqual(strip.digits(0, [8, 5, 5]), [0, 0, 0]);
  assert.deepEqual(strip.digits(8 * 5 * 5 - 1, [8, 5, 5]), [7, 4, 4]);
  for (let id = 0; id < 40; id++) {
    const [a, b] = strip.digits(id, [8, 5]);
    assert.equal(a + 8 * b, id);
  }
});

test("every id has a colour of its own, codebooks of one dimension too", () => {
  const colours = new Set();
  for (let id = 0; id < 200; id++) colours.add(strip.colour(id, [8, 5, 5]));
  assert.equal(colours.size, 200);
  assert.match(strip.colour(1, [2]), /^hsl\(/);
});

test("latent frames name their pixel frames", () => {
  assert.equal(strip.framesOf(0, 4, 17), "frame 1");
  assert.equal(strip.framesOf(1, 4, 17), "frames 2-5");
  assert.equal(strip.framesOf(4, 4, 17), "frames 14-17");
  assert.equal(strip.framesOf(2, 4, 6), "frame 6");
  assert.equal(strip.framesOf(4, 4, 6), "padding");
});

test("a cell says what it is and what it was, and only kept tokens count as changed", () => {
  assert.match(strip.describe(value, 0, 1), /register 2: id 6, was 5, code \(6, 0\)$/);
  assert.match(strip.describe(value, 0, 2), /not used at k = 2$/);
  assert.equal(strip.numChanged(value), 1);
  assert.equal(strip.numChanged({ ...value, k: 3 }), 2);
});
