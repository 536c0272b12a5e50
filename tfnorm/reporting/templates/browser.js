"use strict";
// The misclassified images: filters, pages, pictures cut from sheets.
(() => {
  const { byId, make, read } = report;
  const data = read("mistakes-data");
  if (!data.wrong) return;
  const PER_PAGE = 24, MOST_LINES = 12, NO_CLASS = 65535;

  const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
  const number = unpack(data.index, Uint32Array), truth = unpack(data.true, Uint16Array);
  const runs = data.runs.map((run, i) => ({ ...run, label: data.specs[run.spec], predicted: unpack(data.predicted[i], Uint16Array), confidence: unpack(data.confidence[i], Uint16Array) }));
  const seeds = [...new Set(runs.map((run) => run.seed))];
  const nameOf = (label) => (label === NO_CLASS ? "no class" : data.classes[label]);
  const percent = (share) => `${(share / 10).toFixed(1)} %`;

  const controls = { seed: byId("browser-seed"), wrong: byId("browser-wrong"), true: byId("browser-true"), predicted: byId("browser-predicted"), model: byId("browser-model"), sort: byId("browser-sort") };
  const option = (value, text) => make("option", { value, textContent: text });
  controls.seed.append(...seeds.map((seed) => option(seed, seed)));
  controls.wrong.append(option("any", "any spec"), option("all", "all specs"));
  data.specs.forEach((label, i) => controls.wrong.append(option(`one ${i}`, label)));
  if (data.specs.length > 1) data.specs.forEach((label, i) => controls.wrong.append(option(`only ${i}`, `${label} only`)));
  const exactly = controls.wrong.appendChild(option("set", "exactly these specs"));
  exactly.hidden = exactly.disabled = true;
  let members = [], page = 0, shown = [];

  // Whether an image is to be shown, from the specs that are wrong about it.
  const asked = (side) => {
    const [kind, spec] = controls.wrong.value.split(" ");
    const right = side.filter((run) => kind === "set" && !members.includes(run.spec));
    const wrong = side.filter((run) => (kind === "set" ? members.includes(run.spec) : kind === "one" || kind === "only" ? run.spec === Number(spec) : true));
    const others = kind === "only" ? side.filter((run) => run.spec !== Number(spec)) : right;
    const isWrong = (run, i) => run.predicted[i] !== truth[i];
    if (kind === "any") return (i) => side.some((run) => isWrong(run, i));
    return (i) => wrong.length > 0 && wrong.every((run) => isWrong(run, i)) && !others.some((run) => isWrong(run, i));
  };

  const select = () => {
    const side = runs.filter((run) => run.seed === Number(controls.seed.value));
    const keep = asked(side);
    const taken = controls.predicted.value === "" ? null : Number(controls.predicted.value);
    const model = controls.model.value === "" ? null : Number(controls.model.value);
    const by = side.filter((run) => model === null || run.spec === model);
    const mistaken = (run, i) => run.predicted[i] !== truth[i] && (taken === null || run.predicted[i] === taken);
    const filtered = taken !== null || model !== null;
    shown = [];
    let wrong = 0;
    for (let i = 0; i < number.length; i += 1) {
      if (side.some((run) => run.predicted[i] !== truth[i])) wrong += 1;
      if (controls.true.value !== "" && truth[i] !== Number(controls.true.value)) continue;
      if (!keep(i) || (filtered && !by.some((run) => mistaken(run, i)))) continue;
      shown.push({ i, most: Math.max(...by.map((run) => (mistaken(run, i) ? run.confidence[i] : -1))) });
    }
    const sort = controls.sort.value;
    shown.sort((a, b) => (sort === "number" ? 0 : sort === "most" ? b.most - a.most : a.most - b.most) || number[a.i] - number[b.i]);
    page = 0;
    const of = (count) => count.toLocaleString("en");
    byId("browser-count").textContent = `${of(shown.length)} of ${of(wrong)} images that any spec gets wrong with seed ${controls.seed.value}, of ${of(data.images)} test images`;
    render(side);
  };

  // Pictures ---------------------------------------------------------------------------------------------------------
  const sheets = new Map();
  const sheetOf = (place) => {
    if (!sheets.has(place)) {
      const image = new Image();
      image.src = data.sheets.sheets[place];
      sheets.set(place, image.decode().then(() => image));
    }
    return sheets.get(place);
  };
  const picture = (i, text) => {
    if (!data.sheets || i >= data.sheets.count) return make("div", { className: "none", textContent: "no picture" });
    const { size: [height, width], cell: [down, across], columns, perSheet } = data.sheets;
    const canvas = make("canvas", { width, height, className: Math.max(width, height) > 48 ? "photo" : "" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", text);
    const place = i % perSheet;
    sheetOf(Math.floor(i / perSheet)).then((sheet) => {
      canvas.getContext("2d").drawImage(sheet, (place % columns) * across, Math.floor(place / columns) * down, width, height, 0, 0, width, height);
      canvas.dataset.drawn = "true";
    });
    return canvas;
  };

  const lineOf = (run, i) => {
    const wrong = run.predicted[i] !== truth[i];
    return make("li", { className: wrong ? "wrong" : "right" },
      make("span", { className: "mark", textContent: wrong ? "\u2717" : "\u2713", title: wrong ? "wrong" : "right" }),
      make("span", { textContent: run.label, title: run.label }),
      make("span", { className: "class", textContent: nameOf(run.predicted[i]), title: `${wrong ? "wrong" : "right"}: ${nameOf(run.predicted[i])}` }),
      make("span", { className: "share", textContent: percent(run.confidence[i]) }));
  };
  const cardOf = (i, side) => {
    // Of very many specs those that are wrong, which the reader looks for.
    const lines = side.length <= MOST_LINES ? side : [...side].sort((a, b) => (a.predicted[i] === truth[i]) - (b.predicted[i] === truth[i])).slice(0, MOST_LINES);
    const list = make("ul", {}, ...lines.map((run) => lineOf(run, i)));
    if (lines.length < side.length) list.append(make("li", {}, make("span", {}), make("span", { textContent: `and ${side.length - lines.length} more` })));
    const wrong = side.filter((run) => run.predicted[i] !== truth[i]).length;
    return make("article", { className: "card" },
      picture(i, `Test image ${number[i]}, of class ${nameOf(truth[i])}`),
      make("div", {}, make("h3", { textContent: `true: ${nameOf(truth[i])}` }), make("div", { className: "where", textContent: `image ${number[i].toLocaleString("en")}` }), make("div", { className: "where", textContent: `wrong under ${wrong} of ${side.length}` })),
      list);
  };
  const render = (side = runs.filter((run) => run.seed === Number(controls.seed.value))) => {
    const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
    byId("browser-cards").replaceChildren(...shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(({ i }) => cardOf(i, side)));
    byId("browser-page").textContent = `page ${page + 1} of ${pages}`;
    byId("browser-pages").hidden = pages === 1;
    byId("browser-back").disabled = page === 0;
    byId("browser-next").disabled = page === pages - 1;
  };
  const turn = (step) => {
    page += step;
    render();
    byId("browser-count").scrollIntoView({ block: "start" });
  };
  byId("browser-back").addEventListener("click", () => turn(-1));
  byId("browser-next").addEventListener("click", () => turn(1));

  const form = byId("browser-controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", select);
  const reset = () => {
    const { seed } = controls;
    const kept = seed.value;
    form.reset();
    seed.value = kept;
    exactly.hidden = exactly.disabled = true;
  };
  byId("browser-reset").addEventListener("click", (event) => { event.preventDefault(); reset(); select(); });

  // Show the images of one cell of a confusion matrix, or of one set of specs, and nothing else.
  report.browse = (wish) => {
    reset();
    if (wish.true !== undefined) {
      controls.true.value = wish.true;
      controls.predicted.value = wish.predicted;
      controls.model.value = data.specs.indexOf(wish.model);
    }
    if (wish.members) {
      members = wish.members;
      exactly.hidden = exactly.disabled = false;
      exactly.textContent = `exactly ${members.map((spec) => data.specs[spec]).join(" and ")}`;
      controls.wrong.value = "set";
    }
    select();
    byId("browser").scrollIntoView();
    controls.wrong.focus({ preventScroll: true });
  };
  for (const button of document.querySelectorAll("button.bar")) {
    button.addEventListener("click", () => report.browse({ members: button.dataset.members.split(" ").map(Number) }));
  }
  select();
})();
