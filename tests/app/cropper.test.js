// Run by tests/app/test_player.py: node --test tests/app/cropper.test.js
const test = require("node:test");
const assert = require("node:assert");
const crop = require("../../app/components/cropper/cropper.js");

test("the middle square is as large as it gets", () => {
  assert.deepEqual(crop.middleSquare(480, 270), { left: 105, top: 0, size: 270 });
  assert.deepEqual(crop.middleSquare(90, 160), { left: 0, top: 35, size: 90 });
});

test("a box stays inside the picture and is never too small", () => {
  assert.deepEqual(crop.inside({ left: -5, top: 900, size: 100 }, 480, 270), { left: 0, top: 170, size: 100 });
  assert.equal(crop.inside({ left: 0, top: 0, size: 9999 }, 480, 270).size, 270);
  assert.equal(crop.inside({ left: 0, top: 0, size: 0 }, 480, 270).size, 27);
});

test("the text comes back as the same box, and a wrong one is the middle", () => {
  const box = { left: 48, top: 27, size: 135 };
  const text = crop.toText(box, 480, 270);
  assert.equal(text, "0.1,0.1,0.2813,0.5");
  const again = crop.fromText(text, 480, 270);
  for (const key of Object.keys(box)) assert.ok(Math.abs(again[key] - box[key]) < 0.1);
  for (const wrong of ["", null, "1,2", "a,b,c,d"]) assert.deepEqual(crop.fromText(wrong, 480, 270), crop.middleSquare(480, 270));
});
