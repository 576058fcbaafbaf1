// The Learn path: seven steps, each with a prediction, something to try, figures and a sentence to keep.
//
// mountLearn(element, content, server): `content` comes from app/learn/content.py; `server.example(name)` and
// `server.baked("")` give payloads, in the app through Gradio and in the static edition from files. Needs player.js and the
// other learn_*.js in front of it. All texts reach the page through textContent.

/** Step (from 0) and teacher mode of a query string, e.g. "?tab=learn&step=3&teacher=1". */
function learnPlace(search, numSteps) {
  const query = new URLSearchParams(search);
  const step = Math.round(Number(query.get("step")));
  return { step: step >= 1 && step <= numSteps ? step - 1 : 0, teacher: query.get("teacher") === "1" };
}

/** The query string of a place; what else is in `search` stays. */
function learnQuery(search, place) {
  const query = new URLSearchParams(search);
  query.set("tab", "learn");
  query.set("step", place.step + 1);
  if (place.teacher) query.set("teacher", "1");
  else query.delete("teacher");
  return `?${query}`;
}

// On paper: nothing but the handout. `learn-path` marks what it lies in, which must neither clip nor place it.
const PRINT_RULES = `@media print {
  body.learn-printing { background: #fff; }
  body.learn-printing :not(.learn-path, .learn, .learn *) { display: none !important; }
  body.learn-printing .learn-path {
    display: block !important; position: static !important; overflow: visible !important; height: auto !important;
    min-height: 0 !important; max-height: none !important; max-width: none !important; padding: 0 !important; margin: 0 !important;
    border: 0 !important; background: none !important; container: none !important; contain: none !important;
  }
  body.learn-printing .learn-noprint { display: none !important; }
}`;

function mountLearn(element, content, server) {
  const { steps } = content;
  const root = h("div", { class: "learn-root" });
  element.querySelector(".learn").replaceChildren(root);
  const state = { ...learnPlace(window.location.search, steps.length), handout: false };
  const predictions = new Map(); // step -> {choice, index, right}
  let material = null; // {clips, baked}
  if (!document.getElementById("learn-print")) document.head.append(h("style", { id: "learn-print", text: PRINT_RULES }));

  // --- frame, made once --------------------------------------------------------------------------------------
  const list = h("ol");
  const nav = h("nav", { class: "learn-nav learn-noprint", "aria-label": "Steps" }, list);
  const main = h("div", { class: "learn-main" });
  const live = h("div", { class: "learn-live", "aria-live": "polite" });
  const teacher = h("input", { type: "checkbox" });
  const tools = h("div", { class: "learn-tools learn-noprint" },
    h("label", {}, teacher, h("span", { text: "Teacher mode: hide answers" })),
    h("button", { type: "button", class: "learn-button learn-handout", text: "Printable page", onclick: () => handout(!state.handout) }));
  root.append(nav, h("div", { class: "learn-column" }, tools, main), live);
  steps.forEach((step, i) => {
    const button = h("button", { type: "button", onclick: () => go(i) }, h("span", { class: "learn-number", text: i + 1 }), h("span", { class: "learn-name", text: step.title }));
    list.append(h("li", {}, button));
  });
  nav.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const buttons = [...list.querySelectorAll("button")];
    const target = buttons[buttons.indexOf(document.activeElement) + (by || 0)];
    if (!by || !target) return;
    target.focus();
    event.preventDefault();
  });
  teacher.addEventListener("change", () => {
    state.teacher = teacher.checked;
    predictions.clear();
    if (state.handout) handout(true);
    else render();
    remember();
  });

  // --- parts of a step -----------------------------------------------------------------------------------------
  function figure(key) {
    const table = content.figures[key];
    return h("div", { class: `learn-figure ${table.whose}` },
      h("span", { class: "learn-badge", text: table.whose === "paper" ? "the paper's figures" : "ours" }),
      h("div", { class: "learn-scroll", tabindex: 0, role: "region", "aria-label": table.title },
        h("table", { class: "learn-table" }, h("caption", { text: table.title }),
          h("thead", {}, h("tr", {}, ...table.columns.map((text) => h("th", { scope: "col", text })))),
          h("tbody", {}, ...table.rows.map((row) => h("tr", {}, ...row.map((text, i) => (i ? h("td", { text }) : h("th", { scope: "row", text })))))))),
      h("p", { class: "learn-caption", text: table.source ? `${table.source}: ${table.where}` : table.where }));
  }

  /** The question; `reveal(answer)` is called once it may be known. */
  function question(index, widget, reveal) {
    const { ask, options, answer, why } = steps[index].question;
    const feedback = h("div", { class: "learn-feedback", "aria-live": "polite" });
    const buttons = options.map((text, i) => h("button", { type: "button", class: "learn-option", "aria-pressed": "false", onclick: () => choose(i) }, h("span", { class: "learn-letter", text: "ABCD"[i] }), h("span", { text })));
    const showNow = h("button", { type: "button", class: "learn-button learn-reveal", text: state.teacher ? "Show the answer" : "Skip the prediction", onclick: () => (state.teacher ? settle() : reveal()) });
    const right = async () => (answer === "measured" ? await widget.answer() : { index: answer, why });
    async function choose(i) {
      if (buttons[0].disabled) return;
      buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
      predictions.set(index, { choice: i });
      if (!state.teacher) await settle();
    }
    async function settle() {
      const found = await right();
      const { choice } = predictions.get(index) || {};
      predictions.set(index, { choice, right: choice === found.index });
      const answered = buttons.includes(document.activeElement); // by keyboard: a button that is disabled loses the focus
      buttons.forEach((button, i) => {
        button.disabled = true;
        button.classList.toggle("right", i === found.index);
        button.classList.toggle("wrong", i === choice && i !== found.index);
        if (i === found.index) button.append(h("span", { class: "learn-mark", text: "✓ right" }));
        else if (i === choice) button.append(h("span", { class: "learn-mark", text: "✗ your guess" }));
      });
      const verdict = choice === undefined ? `${"ABCD"[found.index]}. ` : choice === found.index ? "Yes. " : "Not quite. ";
      feedback.replaceChildren(h("b", { text: verdict }), found.why);
      showNow.hidden = true;
      feedback.dataset.settled = found.index;
      if (answered) {
        feedback.tabIndex = -1;
        feedback.focus({ preventScroll: true });
      }
      reveal();
    }
    return h("section", { class: "learn-card learn-question", "aria-label": "Prediction" },
      h("h4", { text: "Predict first" }), h("p", { class: "learn-ask", text: ask }), h("div", { class: "learn-options" }, ...buttons), feedback, showNow);
  }

  function stepHead(index) {
    const step = steps[index];
    return h("header", {}, h("p", { class: "learn-count", text: `Step ${index + 1} of ${steps.length}` }),
      h("h3", { tabindex: -1, text: step.title }), h("p", { class: "learn-lead", text: step.lead }), ...step.text.map((text) => h("p", { text })));
  }

  function buildWidget(index, host) {
    return LEARN_WIDGETS[steps[index].widget](host, { ...material, content, say: (text) => (host.dataset.said = live.textContent = text) }) || {};
  }

  function renderStep() {
    const step = steps[state.step];
    const host = h("div", { class: "learn-widget" });
    const shown = h("div", { class: "learn-shown" });
    const more = h("div", {}, h("section", { class: "learn-card", "aria-label": "Try it" }, h("h4", { text: "Try it" }), h("p", { text: step.try }), host),
      h("section", { class: "learn-figures", "aria-label": "Figures" }, ...step.figures.map(figure)), h("p", { class: "learn-remember" }, h("b", { text: "To keep: " }), step.remember));
    const widget = buildWidget(state.step, host);
    const reveal = () => {
      if (more.isConnected) return;
      shown.replaceChildren(more);
      main.dataset.revealed = "1";
      if (state.step === steps.length - 1) shown.append(summary());
    };
    delete main.dataset.revealed;
    const [back, next] = [[-1, "← Back"], [1, "Next →"]].map(([by, text]) => {
      const target = state.step + by;
      const there = steps[target];
      return h("button", { type: "button", class: `learn-button ${by > 0 ? "learn-next" : "learn-back"}`, disabled: !there, hidden: !there && by > 0, onclick: () => go(target), text: there && by > 0 ? `Next: ${there.title} →` : text });
    });
    const notes = state.teacher ? h("details", { class: "learn-card learn-teacher" }, h("summary", { text: "Notes for the teacher" }), h("p", { text: step.teacher })) : "";
    main.replaceChildren(stepHead(state.step), question(state.step, widget, reveal), notes, shown, h("div", { class: "learn-ends" }, back, next));
    main.dataset.step = state.step + 1;
  }

  function summary() {
    const settled = [...predictions.values()].filter((p) => p.right !== undefined && p.choice !== undefined);
    const right = settled.filter((p) => p.right).length;
    return h("section", { class: "learn-card learn-summary" }, h("h4", { text: "The whole path in seven lines" }), h("ol", {}, ...steps.map((step) => h("li", { text: step.remember }))),
      h("p", { text: settled.length ? `You predicted ${right} of ${settled.length} right.` : "Go back and predict: that is when it sticks." }));
  }

  // --- the printable page: every step, with pictures that stand still; answers at the end, unless they are hidden ----
  let handouts = 0;
  /** Only a page that shows the handout prints it; another tab may be in front. */
  const printing = () => document.body.classList.toggle("learn-printing", state.handout && root.getClientRects().length > 0);
  new IntersectionObserver(printing).observe(root);
  async function handout(on) {
    state.handout = on;
    handouts += 1;
    const turn = handouts;
    printing();
    for (let node = element.querySelector(".learn").parentElement; node; node = node.parentElement) node.classList.toggle("learn-path", on);
    tools.querySelector(".learn-handout").textContent = on ? "Back to the steps" : "Printable page";
    nav.hidden = on;
    root.classList.toggle("handout", on);
    if (!on) return render();
    const answers = h("ol");
    main.replaceChildren(h("h2", { text: "FlexTok Video: from a grid to ordered tokens" }),
      h("button", { type: "button", class: "learn-button learn-noprint", text: "Print", onclick: () => window.print() }));
    for (const [index, step] of steps.entries()) {
      const host = h("div", { class: "learn-widget" });
      main.append(h("article", { class: "learn-card" }, stepHead(index), h("p", { class: "learn-ask", text: step.question.ask }),
        h("ul", { class: "learn-boxes" }, ...step.question.options.map((text, i) => h("li", { text: `☐ ${"ABCD"[i]}. ${text}` }))),
        state.teacher ? h("p", { text: `What is to be tried here gives the answer away; it is in the app, at step ${index + 1}.` }) : host,
        ...step.figures.map(figure), h("p", { class: "learn-remember" }, h("b", { text: "To keep: " }), step.remember)));
      const widget = buildWidget(index, host);
      const { answer, why } = step.question;
      const found = answer === "measured" ? await widget.answer() : { index: answer, why };
      if (turn !== handouts) return undefined; // back to the steps meanwhile
      answers.append(h("li", { text: `${"ABCD"[found.index]}. ${found.why}` }));
    }
    if (!state.teacher) main.append(h("article", { class: "learn-card learn-answers" }, h("h4", { text: "Answers" }), answers));
    main.dataset.step = "all";
    return undefined;
  }

  // --- moving about ----------------------------------------------------------------------------------------------
  function remember() {
    const search = learnQuery(window.location.search, state);
    if (window.flextokUrl) window.flextokUrl.replace(search);
    else window.history.replaceState(window.history.state, "", search + window.location.hash);
  }

  function render() {
    teacher.checked = state.teacher;
    list.querySelectorAll("button").forEach((button, i) => {
      if (i === state.step) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
      button.classList.toggle("done", i < state.step || predictions.has(i));
    });
    if (material) renderStep();
  }

  function go(step) {
    state.step = step;
    render();
    remember();
    const title = main.querySelector("h3");
    title.focus({ preventScroll: true });
    root.scrollIntoView({ block: "start" });
  }

  // --- loading, once: afterwards no step asks the server for anything ------------------------------------------------
  async function load() {
    main.replaceChildren(h("p", { text: "Loading the clips ..." }));
    const baked = await server.baked("");
    const clips = new Map(content.clips.map((name) => [name, null]));
    await Promise.all(content.clips.map(async (name) => clips.set(name, await server.example(name))));
    material = { clips, baked };
    render();
    root.dataset.ready = "1";
  }
  load().catch((error) => main.replaceChildren(h("p", { role: "alert", text: `The clips could not be loaded: ${error.message || error}. Reload the page to try again.` })));
}

if (typeof module !== "undefined") module.exports = { learnPlace, learnQuery };
