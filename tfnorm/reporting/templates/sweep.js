"use strict";
// The page of a sweep: heat maps of any two axes, the filter of the table, and the curves that are shown at first.
(() => {
  const { byId, make, read } = report;

  // Filter of the table -----------------------------------------------------------------------------------------------
  const table = byId("all");
  let only = null;  // combinations of a pressed cell: { name, labels }
  const filter = () => {
    const norm = byId("filter-norm").value, words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const body of table.tBodies) {
      const { norm: own, text, label } = body.dataset;
      body.hidden = !((!norm || own === norm) && words.every((word) => text.includes(word)) && (!only || only.labels.has(label)));
      shown += !body.hidden;
    }
    const all = table.tBodies.length;
    byId("shown").textContent = shown === all ? `all ${all} combinations` : `${shown} of ${all} combinations`;
    byId("filter-cell").hidden = !only;
    byId("filter-cell").textContent = only ? `${only.name} \u00D7` : "";
    byId("filter-cell").setAttribute("aria-label", only ? `Only ${only.name}. Show all again.` : "");
  };
  const restrict = (next) => {
    only = next;
    for (const button of document.querySelectorAll("#heat td button")) button.setAttribute("aria-pressed", "false");
    filter();
  };
  if (table) {
    byId("filter-norm").addEventListener("change", filter);
    byId("filter-text").addEventListener("input", filter);
    byId("filter-cell").addEventListener("click", () => { restrict(null); byId("filter-norm").focus(); });
  }

  const select = (label, options, value, changed) => {
    const box = make("select", {}, ...options.map(([key, text]) => make("option", { value: key, textContent: text, selected: String(key) === String(value) })));
    box.addEventListener("change", () => changed(box.value));
    return make("label", {}, label, box);
  };
  const chooseValue = (axis, any, fixed, i, changed) => (
    select(axis.name, [["", any], ...axis.values.map((text, value) => [value, text])], fixed[i], (value) => { fixed[i] = value; changed(); })
  );

  // Curves ------------------------------------------------------------------------------------------------------------
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
  const startCurves = () => {
    const axes = read("curve-data");
    let axis = axes[0], fixed = [];
    const { unit, decimals, sign, most } = byId("curve").dataset, percent = unit !== "";
    const highest = (curve) => Math.max(...curve.points.map((point) => sign * point[1]));
    // Of each norm the curve that reaches the most, among those at the chosen values.
    const shown = () => {
      const best = new Map();
      for (const curve of axis.curves) {
        if (!fixed.every((value, i) => value === "" || curve.at[i] === Number(value))) continue;
        if (!best.has(curve.norm) || highest(curve) > highest(best.get(curve.norm))) best.set(curve.norm, curve);
      }
      return [...best.values()];
    };
    const setting = (curve) => axis.others.map((other, i) => `${other.name} ${other.values[curve.at[i]]}`).join(", ");
    const figure = () => {
      const lines = shown(), data = [], means = lines.flatMap((curve) => curve.points.map((point) => point[1]));
      for (const [number, curve] of lines.entries()) {
        const trace = { name: curve.norm, legendgroup: curve.norm, x: curve.points.map(([i]) => axis.ticks[i][axis.type === "category" ? 1 : 0]) };
        data.push({
          ...trace, y: curve.points.map((point) => point[1]), mode: "lines+markers", marker: { size: 7 },
          line: { color: curve.colour, width: 2.5, dash: DASHES[number % DASHES.length] },
          customdata: curve.points.map(([i, mean, low, high]) => [
            curve.norm, [`${axis.name} ${axis.ticks[i][1]}`, setting(curve)].filter(Boolean).join(", "),
            `${mean.toFixed(decimals)}${unit}, ${low === null ? "one seed" : `95 % interval ${low.toFixed(decimals)} to ${high.toFixed(decimals)}`}`,
          ]),
          hovertemplate: "%{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        });
        const band = curve.points.every((point) => point[2] !== null);
        const edge = { ...trace, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
        const [r, g, b] = [1, 3, 5].map((i) => parseInt(curve.colour.slice(i, i + 2), 16));
        if (band) data.push({ ...edge, y: curve.points.map((point) => point[2]) }, { ...edge, y: curve.points.map((point) => point[3]), fill: "tonexty", fillcolor: `rgba(${r},${g},${b},0.18)` });
      }
      // An interval from two seeds may be wider than all that is worth seeing.
      const low = Math.min(...means), high = Math.max(...means), margin = Math.max(0.8 * (high - low), percent ? 0.3 : 0.01 * Math.abs(high) || 0.01);
      const top = most === "" ? Infinity : Number(most);
      const x = axis.type === "category" ? { type: "category", categoryarray: axis.ticks.map((tick) => tick[1]) } : { type: axis.type, tickvals: axis.ticks.map((tick) => tick[0]), ticktext: axis.ticks.map((tick) => tick[1]) };
      byId("curve-note").textContent = axis.others.length ? lines.map((curve) => `${curve.norm} at ${setting(curve)}`).join("; ") + "." : "";
      return { data, layout: { xaxis: { ...x, title: { text: axis.name } }, yaxis: { title: { text: byId("curve").dataset.name }, range: [low - margin, Math.min(high + margin, top + 0.05 * margin)] } } };
    };
    const redraw = () => report.redraw("curve");
    const controls = () => {
      fixed = axis.others.map(() => "");
      const boxes = [
        select("against", axes.map((each, i) => [i, each.name]), axes.indexOf(axis), (value) => {
          axis = axes[Number(value)];
          controls();
          byId("curve-controls").querySelector("select").focus();
          redraw();
        }),
        ...axis.others.map((other, i) => chooseValue(other, "each norm's best", fixed, i, redraw)),
      ];
      byId("curve-controls").replaceChildren(...boxes);
    };
    controls();
    report.plot("curve", figure);
  };
  if (byId("curve-data")) startCurves();

  // Heat maps ---------------------------------------------------------------------------------------------------------
  if (!byId("heat-data")) return;
  const data = read("heat-data");
  const axisOf = (key) => data.axes.findIndex((axis) => axis.key === key);
  const chosen = { x: axisOf(data.x), y: axisOf(data.y), measure: 0, fixed: data.axes.map(() => "") };

  const names = data.axes.map((axis, i) => [i, axis.name]);
  const choose = (one, other) => (value) => {
    const previous = chosen[one];
    chosen[one] = Number(value);
    if (chosen[other] === chosen[one]) chosen[other] = previous;
    chosen.fixed[chosen.x] = chosen.fixed[chosen.y] = "";
    controls(one);
  };
  const controls = (focused) => {
    const boxes = {
      x: select("across", names, chosen.x, choose("x", "y")),
      y: select("down", names, chosen.y, choose("y", "x")),
      measure: select("value", data.measures.map((measure, i) => [i, measure.name]), chosen.measure, (value) => { chosen.measure = Number(value); draw(); }),
    };
    const rest = names.filter(([i]) => i !== chosen.x && i !== chosen.y).map(([i]) => (
      chooseValue(data.axes[i], "any: the best", chosen.fixed, i, draw)
    ));
    byId("heat-controls").replaceChildren(boxes.x, boxes.y, boxes.measure, ...rest);
    if (focused) boxes[focused].querySelector("select").focus();
    draw();
  };

  // As `heat_data` does: the best among those of which every seed ended with a number, if there are any.
  const cellOf = (rows, measure) => {
    const value = (row) => row.measures[measure] ?? null;
    const ended = rows.filter((row) => value(row) !== null);
    const whole = ended.filter((row) => !row.diverged && row.seeds === row.planned), pool = whole.length ? whole : ended;
    if (!pool.length) {
      const has = (status) => rows.some((row) => row.status === status);
      return { state: rows.some((row) => row.diverged) ? "diverged" : has("failed") ? "failed" : has("waiting") ? "waiting" : "missing" };
    }
    const sign = data.measures[measure].more ? 1 : -1;
    return { row: pool.reduce((best, row) => (sign * (value(row) - value(best)) > 0 ? row : best)), many: pool.length };
  };
  const quantile = (sorted, share) => {
    const place = share * (sorted.length - 1), low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };
  const limitsOf = (values, more) => {
    if (!values.length) return [0, 1];
    const sorted = [...values].sort((a, b) => a - b), first = quantile(sorted, 0.25), third = quantile(sorted, 0.75);
    const kept = sorted.filter((value) => (more ? value >= first - 3 * (third - first) : value <= third + 3 * (third - first)));
    return [kept[0], kept[kept.length - 1]];
  };
  const channels = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const colourAt = (share) => {
    const place = Math.min(1, Math.max(0, share)) * (data.scale.length - 1), low = Math.min(Math.floor(place), data.scale.length - 2);
    const [from, to] = [channels(data.scale[low]), channels(data.scale[low + 1])];
    return from.map((value, i) => Math.round(value + (place - low) * (to[i] - value)));
  };
  const isLight = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.45 * 255;

  const draw = () => {
    const { x, y, measure, fixed } = chosen, { more, digits, name } = data.measures[measure];
    const across = data.axes[x], down = data.axes[y];
    const rows = data.rows.filter((row) => fixed.every((value, i) => value === "" || row.at[i] === Number(value)));
    const grid = down.values.map((_, j) => across.values.map((_, i) => {
      const here = rows.filter((row) => row.at[x] === i && row.at[y] === j);
      return { here, ...cellOf(here, measure) };
    }));
    const values = grid.flat().filter((cell) => cell.row).map((cell) => cell.row.measures[measure]);
    const [low, high] = limitsOf(values, more);
    const share = (value) => (high > low ? (value - low) / (high - low) : 0);

    const filled = (cell, i, j) => {
      const value = cell.row.measures[measure], colour = colourAt(more ? share(value) : 1 - share(value));
      const place = `${across.name} ${across.values[i]}, ${down.name} ${down.values[j]}`;
      const button = make("button", { type: "button", title: `${cell.row.label}\nbest of ${cell.many}` }, value.toFixed(digits));
      if (measure === 0 && cell.row.std !== null) button.append(make("small", { textContent: `\u00B1 ${cell.row.std.toFixed(digits)}` }));
      if (cell.row.diverged) button.append(make("small", { textContent: `${cell.row.diverged} diverged` }));
      if (cell.row.seeds < cell.row.planned) button.append(make("small", { textContent: `${cell.row.seeds} of ${cell.row.planned} seeds` }));
      button.style.background = `rgb(${colour})`;
      button.style.color = isLight(colour) ? "#000" : "#fff";
      button.setAttribute("aria-label", `${place}: ${button.innerText || button.textContent}, ${cell.row.label}, best of ${cell.many}. List them.`);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const again = button.getAttribute("aria-pressed") === "true";
        restrict(again ? null : { name: place, labels: new Set(cell.here.map((row) => row.label)) });
        button.setAttribute("aria-pressed", String(!again));
      });
      return make("td", {}, button);
    };
    const empty = (cell) => make("td", { className: "empty" }, make("span", { textContent: data.states[cell.state] }));
    const heading = (text, scope) => { const cell = make("th", { textContent: text }); cell.scope = scope; return cell; };
    byId("heat").replaceChildren(
      make("caption", { className: "unseen", textContent: `${name}: ${across.name} across, ${down.name} down` }),
      make("thead", {}, make("tr", {}, make("td", { className: "corner" }, make("span", { textContent: `${across.name} \u2192` }), make("span", { textContent: `${down.name} \u2193` })), ...across.values.map((text) => heading(text, "col")))),
      make("tbody", {}, ...grid.map((line, j) => make("tr", {}, heading(down.values[j], "row"), ...line.map((cell, i) => (cell.row ? filled(cell, i, j) : empty(cell)))))),
    );
    if (only) restrict(null);

    const bar = make("i", { ariaHidden: "true" });
    bar.style.background = `linear-gradient(to right, ${(more ? data.scale : [...data.scale].reverse()).join(",")})`;
    const beyond = values.filter((value) => value < low || value > high).length;
    byId("heat-scale").replaceChildren(
      ...(values.length ? [low.toFixed(digits), bar, high.toFixed(digits), make("span", { textContent: more ? "more is better" : "less is better" })] : ["No value here."]),
      ...(beyond ? [make("span", { textContent: `${beyond} ${beyond === 1 ? "cell is" : "cells are"} far off, beyond the scale` })] : []),
    );
  };
  controls();
})();
