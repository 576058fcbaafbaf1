// The static edition: Explore and Learn from plain files beside this one (see app/bake/static_edition.py). No server, no build.

const file = async (name) => {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.json();
};
const server = { example: (name) => file(`clips/${name}.json`), baked: () => file("learn.json") };
const query = new URLSearchParams(window.location.search);

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.getElementById("theme").textContent = dark ? "Light" : "Dark";
}

async function explore(content) {
  const props = {
    value: await server.example(content.clips[0]),
    examples: content.examples,
    parts: PARTS.filter((part) => part !== "seeds"), // other seeds take a model
  };
  mountPlayer(document.getElementById("player"), props, () => {}, () => {}, server);
}

function tabs(content) {
  const parts = { explore: () => explore(content), learn: () => mountLearn(document.getElementById("learn"), content, server) };
  const names = Object.keys(parts);
  const tab = (name) => document.getElementById(`tab-${name}`);
  function open(name) {
    for (const other of names) {
      document.getElementById(other).hidden = other !== name;
      tab(other).setAttribute("aria-selected", String(other === name));
      tab(other).tabIndex = other === name ? 0 : -1;
    }
    const build = parts[name];
    delete parts[name]; // built once, when it is first opened
    if (build) build();
  }
  for (const name of names) {
    tab(name).addEventListener("click", () => {
      query.set("tab", name);
      window.history.replaceState(null, "", `?tab=${name}`);
      open(name);
    });
    tab(name).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = names.find((one) => one !== name);
      tab(other).click();
      tab(other).focus();
    });
  }
  open(names.includes(query.get("tab")) ? query.get("tab") : "explore");
}

const wantsDark = query.get("__theme") ? query.get("__theme") === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
theme(wantsDark);
document.getElementById("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
file("content.json").then(tabs).catch((error) => {
  document.querySelector("main").textContent = `The page could not be loaded (${error.message}). Opened as a file? It needs a web server: python3 -m http.server`;
});
