// Run by tests/app/test_player.py: node --test tests/app/share.test.js
const test = require("node:test");
const assert = require("node:assert");
const share = require("../../app/share.js");

test("an address holds what differs from the default", () => {
  assert.equal(share.withValue("", "seed", 7, 0), "?seed=7");
  assert.equal(share.withValue("?seed=7", "seed", 0, 0), "");
  assert.equal(share.withValue("?seed=7&k=4", "seed", null, 0), "?k=4");
  assert.equal(share.withValue("?tab=swap", "crop", "0.1,0,0.5,0.9", ""), "?tab=swap&crop=0.1%2C0%2C0.5%2C0.9");
});

test("what browsers cannot play is converted", () => {
  const canPlay = (type) => (type === "video/mp4" ? "maybe" : "");
  assert.equal(share.needsConversion({ type: "video/mp4" }, canPlay), false);
  assert.equal(share.needsConversion({ type: "video/x-msvideo" }, canPlay), true);
  assert.equal(share.needsConversion({ type: "image/gif" }, () => "maybe"), true);
  assert.equal(share.needsConversion({ type: "" }, canPlay), true);
});

test("what is Gradio's own is not passed on", () => {
  assert.equal(share.withoutOthers("?__theme=dark&k=4"), "?k=4");
  assert.equal(share.withoutOthers("?__theme=dark"), "");
});

test("the API lies below the page, whatever path a proxy gives it", () => {
  assert.equal(share.rootOf({ origin: "https://a.b", pathname: "/" }), "https://a.b");
  assert.equal(share.rootOf({ origin: "https://a.b", pathname: "/demos/video/" }), "https://a.b/demos/video");
});
