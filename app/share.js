// The page's address holds its state; this keeps it, and lets a clip be pasted.
//
// One file, no build step: app/share.py puts it into the page's head and calls `mountShare`; tests/app/share.test.js
// runs the functions above that under node.

/** `search` with a name set, or without it where the value is empty or the default. Order of names stays. */
function withValue(search, name, value, fallback) {
  const params = new URLSearchParams(search);
  const empty = value === null || value === undefined || value === "";
  if (empty || String(value) === String(fallback)) params.delete(name);
  else params.set(name, String(value));
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** The tab that an address opens; "" for the first. */
function tabOf(search) {
  return new URLSearchParams(search).get("tab") || "";
}

/** Names that are Gradio's own and no state of ours. */
function withoutOthers(search) {
  const params = new URLSearchParams(search);
  for (const name of [...params.keys()]) if (name.startsWith("__")) params.delete(name);
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** Where a page lies, behind whatever path a proxy gives it, without the last slash: its API is below. */
function rootOf(place) {
  return place.origin + place.pathname.replace(/\/+$/, "");
}

/** What a browser's <video> shows nothing of: GIF, AVI, ... `canPlay` is that of a video element. */
function needsConversion(file, canPlay) {
  return !file.type.startsWith("video/") || canPlay(file.type) === "";
}

function mountShare(publicAddress) {
  // What the page shows. Back puts an older address in the bar before any of this runs, and fields stay as they are.
  let current = location.search;
  let labels = {};
  function write(method, search) {
    current = search;
    history[method](history.state, "", location.pathname + search + location.hash);
  }
  const replace = (search) => write("replaceState", search);
  // As it was when the page opened: tabs write to the address as they are mounted, before any handler reads it.
  const opened = location.search;
  window.flextokUrl = {
    opened: () => opened,
    get: (name) => new URLSearchParams(location.search).get(name),
    replace,
    set: (name, value, fallback) => replace(withValue(location.search, name, value, fallback)),
    /** A tab came to the front: Back leads to the one before. Tokens in the address belong to their tab. */
    tab: (name, all) => {
      labels = all;
      const search = withValue(current, "tab", name, "");
      const there = tabOf(location.search) === name; // an address or Back opened it
      write(there ? "replaceState" : "pushState", name === "tokens" ? search : withValue(search, "tokens", "", ""));
    },
    /** An address of this page that others can open; on a Space the page lies in a frame with another one. */
    link: (search) => (publicAddress || location.origin + location.pathname) + search,
    root: () => rootOf(location),
    here: () => window.flextokUrl.link(withoutOthers(location.search)),
    copy: (text) => navigator.clipboard && navigator.clipboard.writeText(text).catch(() => {}),
    /** Download a file that a handler returned. */
    save: (file) => {
      if (!file || !file.url) return;
      const link = document.createElement("a");
      link.href = file.url;
      link.download = file.orig_name || "";
      document.body.append(link);
      link.click();
      link.remove();
    },
  };
  window.addEventListener("popstate", () => {
    const name = tabOf(location.search);
    const moved = name !== tabOf(current);
    replace(withValue(current, "tab", name, ""));
    if (!moved) return;
    // Tabs that find no room are buttons of a menu, which have a label alone.
    const buttons = [...document.querySelectorAll("#tabs [role=tab], #tabs .overflow-dropdown button")];
    const button = buttons.find((b) => b.textContent.trim() === labels[name]);
    if (button) button.click();
  });
  const canPlay = (type) => document.createElement("video").canPlayType(type);
  const visible = (node) => Boolean(node && node.getClientRects().length);
  /** Hand a file to an upload of the page; false where there is none to take it. */
  function give(file, where) {
    const input = document.querySelector(`${where} input[type=file]`);
    if (!input) return false;
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }
  /** A GIF or AVI goes to the upload that converts it. */
  function redirect(event, file) {
    if (!file || !needsConversion(file, canPlay) || !give(file, "#clip-other")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  // The second of two quick clicks would cancel a job that is ending already, which Gradio answers with an error.
  let pressed = { button: null, at: 0 };
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".press-once");
    if (!button) return;
    if (button === pressed.button && event.timeStamp - pressed.at < 600) {
      event.preventDefault();
      event.stopImmediatePropagation();
    } else pressed = { button, at: event.timeStamp };
  }, true);
  document.addEventListener("change", (event) => {
    if (event.target.matches("#clip input[type=file]")) redirect(event, event.target.files[0]);
  }, true);
  document.addEventListener("drop", (event) => {
    if (event.target.closest("#clip")) redirect(event, event.dataTransfer.files[0]);
  }, true);
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData && [...event.clipboardData.files].find((f) => /^(video|image)\//.test(f.type));
    if (!file || !visible(document.querySelector("#clip"))) return;
    const clear = document.querySelector("#clip [aria-label=Clear]");
    if (needsConversion(file, canPlay)) give(file, "#clip-other");
    else if (!give(file, "#clip") && clear) {
      clear.click(); // the input is there only while no clip is
      setTimeout(() => give(file, "#clip"), 300);
    }
    event.preventDefault();
  });
}

if (typeof module !== "undefined") {
  module.exports = { needsConversion, rootOf, withoutOthers, withValue };
}
