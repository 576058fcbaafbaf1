// Run by tests/app/test_player.py: node --test tests/app/player.test.js
const test = require("node:test");
const assert = require("node:assert");
const player = require("../../app/components/player/values.js");

const results = [1, 4, 16].map((k) => ({ k, psnr: 15 + k / 4 }));

test("frames follow the clock, loop or stop at the end", () => {
  assert.equal(player.frameAt(0, 8, 1, 17, true), 0);
  assert.equal(player.frameAt(1000, 8, 1, 17, true), 8);
  assert.equal(player.frameAt(1000, 8, 0.25, 17, true), 2);
  assert.equal(player.frameAt(17 * 125, 8, 1, 17, true), 0);
  assert.equal(player.frameAt(60_000, 8, 1, 17, false), 16);
  assert.equal(player.frameAt(-3, 8, 1, 17, true), 0); // a picture can be due from before the click that starts the clock
  for (let n = 0; n < 17; n++) assert.equal(player.frameAt(n * 125, 8, 1, 17, true), n); // a step is never skipped
});

test("latent frames begin at 0, 1, 5, 9 and 13", () => {
  assert.deepEqual(player.latentTicks(17, 4), [0, 1, 5, 9, 13]);
  assert.deepEqual(player.latentTicks(1, 4), [0]);
});

test("a budget shows the largest result that it affords", () => {
  assert.equal(player.atBudget(results, 8).k, 4);
  assert.equal(player.atBudget(results, 16).k, 16);
  assert.equal(player.atBudget(results, 0), null);
  assert.equal(player.budgetBelow(results, 16), 4);
  assert.equal(player.budgetBelow(results, 1), null);
});

test("the heat scale is fixed, monotone and ends at its maximum", () => {
  const brightness = (levels) => player.heat(levels).reduce((a, b) => a + b);
  assert.deepEqual(player.heat(0), [0, 0, 0]);
  for (let n = 1; n <= player.DIFF_MAX; n++) assert.ok(brightness(n) >= brightness(n - 1));
  assert.deepEqual(player.heat(255), player.heat(player.DIFF_MAX));
  assert.deepEqual(player.heat(-40), player.heat(40));
});

test("equal pictures give a black map, a difference shows where it is", () => {
  const a = new Uint8ClampedArray([10, 20, 30, 255, 200, 0, 0, 255]);
  const b = new Uint8ClampedArray([10, 20, 30, 255, 0, 0, 0, 255]);
  const map = player.heatmap(a, b);
  assert.deepEqual([...map.slice(0, 4)], [0, 0, 0, 255]);
  assert.ok(map[4] > 0);
});

test("a spread of nothing is black, and more spread is brighter", () => {
  const grey = new Uint8ClampedArray([0, 0, 0, 255, 30, 30, 30, 255, 90, 90, 90, 255]);
  const map = player.spreadMap(grey);
  const sum = (i) => map[i] + map[i + 1] + map[i + 2];
  assert.equal(sum(0), 0);
  assert.ok(sum(4) > 0 && sum(8) > sum(4));
});

test("the budget line counts tokens and whole bytes", () => {
  assert.equal(player.budgetLine(16, 5, 10, 17), "k = 16: 80 tokens = 100 bytes for 17 frames");
  assert.equal(player.budgetLine(1, 5, 10, 17), "k = 1: 5 tokens = 7 bytes for 17 frames");
  assert.equal(player.budgetLine(256, 21, 16, 81), "k = 256: 5376 tokens = 10752 bytes for 81 frames");
});

test("the chart is logarithmic in k and holds every point", () => {
  const payload = { registers: results, grid: [{ k: 16, psnr: 20.5 }], maxK: 64 };
  const range = player.chartRange(payload);
  assert.deepEqual(range, { low: 14, high: 22, maxK: 64 });
  const points = player.chartPoints(results, range, 300, 80);
  assert.deepEqual(points.map((p) => p.x), [0, 100, 200]);
  assert.ok(points[0].y > points[1].y && points[1].y > points[2].y);
  assert.ok(points.every((p) => p.y >= 0 && p.y <= 80));
});
