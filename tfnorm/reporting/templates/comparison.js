"use strict";
// Curves, gap, confusion and layers of a comparison.
(() => {
  const { byId, choice, css, make, plot, read, redraw } = report;

  // Curves -----------------------------------------------------------------------------------------------------------
  const curves = read("curves-data");
  const many = curves.specs.some((spec) => curves.runs[spec.label].length > 1);
  const band = (curve, spec, name, change, opacity = 0.16) => ({
    x: [...curve.epoch, ...curve.epoch.slice().reverse()], y: [...curve.high.map(change), ...curve.low.map(change).reverse()],
    fill: "toself", fillcolor: spec.colour, opacity, line: { width: 0 }, mode: "lines", hoverinfo: "skip", name, legendgroup: spec.label,
  });
  const line = (curve, spec, name, change, style) => ({
    x: curve.epoch, y: curve.mean.map(change), customdata: curve.epoch.map((_, i) => [spec.label, name, change(curve.low[i]), change(curve.high[i])]),
    mode: "lines+markers", marker: { symbol: spec.symbol, size: 7, color: spec.colour, maxdisplayed: 8 }, line: { color: spec.colour, width: 2.2, ...style },
    name: `${spec.label} ${name}`, legendgroup: spec.label,
    hovertemplate: "%{customdata[0]}, %{customdata[1]}<br>epoch %{x}: %{y:.4~g}" + (many ? "<br>seeds %{customdata[2]:.4~g} to %{customdata[3]:.4~g}" : "") + "<extra></extra>",
  });
  const last = Math.max(1, ...curves.specs.flatMap((spec) => curves.runs[spec.label].flatMap((run) => run.epoch)));
  const epochs = { title: { text: "epoch" }, range: last > 1 ? [1 - 0.02 * last, last * 1.02] : [0, 2], dtick: last < 10 ? 1 : undefined };
  const first = Object.keys(curves.axes)[0];
  const state = { measure: first, log: first === "loss" && curves.log };
  const wanted = (name) => byId(`curves-${name}`)?.checked;
  const curvesFigure = () => {
    const { measure, log } = state;
    const main = measure === curves.main, error = main && curves.percent && log;
    const change = error ? (value) => (value === null || value >= 100 ? null : Math.max(0, 100 - value)) : (value) => value;
    const data = [];
    for (const spec of curves.specs) {
      const means = curves.means[spec.label][measure] || {};
      for (const [name, shown, dash] of [["train", wanted("train"), "dash"], ["test", wanted("test"), "solid"]]) {
        if (!shown || !means[name]) continue;
        const words = curves.names[measure][name];
        if (many && wanted("seeds")) {
          for (const run of curves.runs[spec.label]) {
            if (!run[measure][name]) continue;
            const own = { epoch: run.epoch, mean: run[measure][name], low: run[measure][name], high: run[measure][name] };
            data.push({ ...line(own, spec, `${words}, seed ${run.seed}`, change, { dash, width: 1.2 }), mode: "lines" });
          }
        } else {
          if (many) data.push(band(means[name], spec, words, change, name === "test" ? 0.16 : 0.08));
          data.push(line(means[name], spec, words, change, { dash, width: name === "test" ? 2.2 : 1.5 }));
        }
      }
      const best = curves.best[spec.label]?.[0], reached = change(means.test?.mean[means.test.epoch.indexOf(best)] ?? null);
      if (wanted("test") && reached !== null) {
        data.push({
          x: [best], y: [reached], customdata: [[spec.label]], mode: "markers", legendgroup: spec.label, name: `${spec.label}, best epoch`,
          marker: { symbol: spec.symbol, size: 13, color: spec.colour, line: { width: 2, color: css("--ink") } },
          hovertemplate: "%{customdata[0]}: best epoch %{x}, %{y:.4~g}<extra></extra>",
        });
      }
    }
    const title = error ? "error (%)" : curves.axes[measure];
    const range = main && !log ? { range: curves.range } : {};
    byId("curves-note").textContent = main && curves.percent && !log && curves.range[0] > 1 ? `The axis begins at ${curves.range[0].toFixed(0)} %; a double click shows all.` : "";
    return { data, layout: { xaxis: epochs, yaxis: { title: { text: title }, type: log ? "log" : "linear", ...range }, uirevision: `${measure}${log}` } };
  };
  const label = () => {
    for (const [name, style] of [["test", "solid"], ["train", "dashed"]]) {
      const words = curves.names[state.measure][name], box = byId(`curves-${name}`).parentElement;
      box.hidden = !words;
      box.querySelector("span").textContent = `${words} (${style})`;
    }
  };
  if (first) {
    byId("curves-log").checked = state.log;
    plot("curves-plot", curvesFigure);
    choice("curves-measure", (measure) => {
      state.measure = measure;
      state.log = byId("curves-log").checked = measure === "loss" && curves.log;
      label();
      redraw("curves-plot");
    });
    for (const name of ["test", "train", "seeds"]) byId(`curves-${name}`)?.addEventListener("change", () => redraw("curves-plot"));
    byId("curves-log").addEventListener("change", (event) => {
      state.log = event.target.checked;
      redraw("curves-plot");
    });
  }

  if (byId("gap-plot")) plot("gap-plot", () => {
    const data = [];
    for (const spec of curves.specs) {
      const gap = curves.means[spec.label].gap?.gap;
      if (!gap) continue;
      const same = (value) => value;
      if (many) data.push(band(gap, spec, "gap", same));
      data.push(line(gap, spec, "gap", same, {}));
    }
    return { data, layout: { xaxis: epochs, yaxis: { title: { text: curves.gap_axis }, zeroline: true, zerolinecolor: css("--soft") } } };
  });

  // Confusion --------------------------------------------------------------------------------------------------------
  if (byId("confusion-data")) {
    const { classes, counts } = read("confusion-data");
    const MOST_NAMED = 20, LONGEST = 16;  // of the names at an axis: how many, and how many characters
    const chosen = () => {
      const other = byId("confusion-other")?.value ?? "";
      return { model: Number(byId("confusion-model").value), other: other === "" ? null : Number(other) };
    };
    const cells = () => {
      const { model, other } = chosen();
      const minus = other === null ? null : counts[other].matrix;
      return counts[model].matrix.map((row, i) => row.map((value, j) => Math.round(100 * (value - (minus ? minus[i][j] : 0))) / 100));
    };
    const short = (value) => (value === 0 ? "" : Math.abs(value) >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1));
    // Names that differ at their end only are cut in the middle.
    const shortened = (names) => {
      const cut = (start, end) => names.map((name) => [...name]).map((letters) => (letters.length > LONGEST ? [...letters.slice(0, start), "\u2026", ...letters.slice(letters.length - end)] : letters).join(""));
      const starts = cut(LONGEST - 1, 0);
      return new Set(starts).size === new Set(names).size ? starts : cut(LONGEST / 2 - 1, LONGEST / 2);
    };
    const folded = (name) => name.replace(/[^]{40}(?=[^])/gu, "$&\n");
    const channels = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
    const mixed = (from, to, share) => channels(from).map((value, i) => value + share * (channels(to)[i] - value));
    // Black or white: on any colour one of them has a contrast of 4.5 or more (relative luminance of WCAG 2).
    const inkOn = (colour) => {
      const [r, g, b] = colour.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "black" : "white";
    };
    const figure = () => {
      const { other } = chosen();
      const values = cells();
      const mistakes = values.map((row, i) => row.map((value, j) => (i === j ? null : value)));
      const most = Math.max(1e-9, ...mistakes.flat().map(Math.abs));
      const clear = css("--paper"), accent = css("--accent"), bad = css("--bad");
      const full = (value) => (other === null || value < 0 ? accent : bad);
      const ink = (i, j, value) => (i === j ? css("--soft") : inkOn(mixed(clear, full(value), Math.abs(value) / most)));
      const places = classes.map((_, i) => i), gap = classes.length > 40 ? 0 : 1;
      const named = places.filter((i) => i % Math.ceil(classes.length / MOST_NAMED) === 0), names = shortened(named.map((i) => classes[i]));
      // No numbers where they would run into each other, as on a phone.
      const widest = (texts) => Math.max(...texts.map((text) => text.length));
      const room = (byId("confusion-plot").clientWidth - 60 - 6.5 * widest(names)) / classes.length;
      const signed = (value) => (other !== null && value > 0 ? `+${short(value)}` : short(value));
      return {
        data: [{
          type: "heatmap", x: places, y: places, z: mistakes, xgap: gap, ygap: gap, showscale: false, hoverongaps: false,
          zmin: other === null ? 0 : -most, zmax: most, colorscale: other === null ? [[0, clear], [1, accent]] : [[0, accent], [0.5, clear], [1, bad]],
          customdata: values.map((row, i) => row.map((_, j) => [folded(classes[i]), folded(classes[j])])),
          hovertemplate: "%{customdata[0]}<br>taken for %{customdata[1]}: %{z}<extra></extra>",
        }],
        layout: {
          xaxis: { title: { text: "predicted class" }, tickvals: named, ticktext: names, showgrid: false, zeroline: false, ticks: "", tickangle: names.some((name) => name.length > 3) ? -45 : 0 },
          yaxis: { title: { text: "true class" }, tickvals: named, ticktext: names, autorange: "reversed", showgrid: false, zeroline: false, ticks: "" },
          annotations: classes.length > 20 || room < 5.5 * widest(values.flat().map(signed)) ? [] : values.flatMap((row, i) => row.map((value, j) => ({
            x: j, y: i, text: signed(value), showarrow: false, font: { size: classes.length > 12 ? 9 : 11, color: ink(i, j, value) },
          }))).filter((note) => note.text),
        },
      };
    };
    const list = () => {
      const { model, other } = chosen();
      const pairs = cells().flatMap((row, i) => row.map((value, j) => ({ i, j, value }))).filter(({ i, j, value }) => i !== j && value !== 0);
      pairs.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
      byId("confusion-title").textContent = other === null ? `Most frequent mistakes of ${counts[model].label}` : `Largest differences: ${counts[model].label} minus ${counts[other].label}`;
      byId("confusion-list").replaceChildren(...pairs.slice(0, 12).map(({ i, j, value }) => {
        const text = `${classes[i]} taken for ${classes[j]}: ${other !== null && value > 0 ? "+" : ""}${short(value)}`;
        const button = make("button", { type: "button", textContent: text, title: "Show these images below" });
        button.addEventListener("click", () => show(i, j));
        return make("li", {}, button);
      }));
      if (!pairs.length) byId("confusion-list").replaceChildren(make("li", { textContent: "nothing" }));
    };
    const show = (i, j) => report.browse?.({ true: i, predicted: j, model: counts[chosen().model].label });
    plot("confusion-plot", figure, (point) => { if (point.x !== point.y) show(point.y, point.x); });
    for (const name of ["model", "other"]) {
      byId(`confusion-${name}`)?.addEventListener("change", () => { list(); redraw("confusion-plot"); });
    }
    list();
  }

  // Layers -----------------------------------------------------------------------------------------------------------
  if (byId("layers-data")) {
    const specs = read("layers-data");
    const look = Object.fromEntries(curves.specs.map((spec) => [spec.label, spec]));
    const kinds = [...new Set(specs.flatMap((spec) => spec.weights.map((weight) => weight.weight)))];
    const option = (value, text) => make("option", { value, textContent: text });
    byId("layers-kind").append(...kinds.map((kind) => option(kind, kind)));
    byId("layers-kind").value = kinds.includes("kernel") ? "kernel" : kinds[0];
    // Layers of all specs in the order of the network: each new one after the one that it follows.
    const ordered = (lists) => {
      const order = [];
      for (const names of lists) names.forEach((name, i) => { if (!order.includes(name)) order.splice(i ? order.indexOf(names[i - 1]) + 1 : 0, 0, name); });
      return order;
    };
    const all = ordered(specs.map((spec) => spec.weights.map((weight) => `${weight.layer}/${weight.weight}`)));
    byId("layers-weight").append(...all.map((name) => option(name, name)));
    const sizes = new Map(specs.flatMap((spec) => spec.weights.map((weight) => [`${weight.layer}/${weight.weight}`, weight.shape.reduce((size, side) => size * side, 1)])));
    byId("layers-weight").value = all.filter((name) => name.endsWith("/kernel")).reduce((most, name) => ((sizes.get(name) ?? 0) > (sizes.get(most) ?? 0) ? name : most), all[0]);
    const values = (spec, measure) => {
      if (measure === "dead") {
        return spec.norms.map((norm) => [norm.layer, norm.relu === "before" ? norm.before_dead : norm.after_dead]).filter(([, value]) => value !== null).map(([name, value]) => [name, 100 * value]);
      }
      if (measure.includes("_") && measure !== "near_zero") return spec.norms.map((norm) => [norm.layer, norm[measure]]);
      const scale = measure === "near_zero" ? 100 : 1;
      return spec.weights.filter((weight) => weight.weight === byId("layers-kind").value).map((weight) => [weight.layer, weight[measure] === null ? null : scale * weight[measure]]);
    };
    const unit = { std: "standard deviation", mean: "mean", near_zero: "nearly zero (%)", before_std: "standard deviation", after_std: "standard deviation", before_mean: "mean", after_mean: "mean", dead: "dead channels (%)" };
    plot("layers-plot", () => {
      const measure = byId("layers-measure").value;
      const found = specs.map((spec) => [spec, values(spec, measure)]).filter(([, pairs]) => pairs.length);
      byId("layers-kind").disabled = !["std", "mean", "near_zero"].includes(measure);
      byId("layers-note").textContent = measure === "dead" ? "A channel is dead if the ReLU beside the norm gives 0 for it at every pixel of every image." : found.length < specs.length ? `Nothing of the kind in ${specs.filter((spec) => !found.some(([other]) => other === spec)).map((spec) => spec.label).join(", ")}.` : "";
      const layers = ordered(found.map(([, pairs]) => pairs.map(([name]) => name)));
      return {
        data: found.map(([spec, pairs]) => {
          const { colour, symbol } = look[spec.label];
          return {
            x: pairs.map(([name]) => name), y: pairs.map(([, value]) => value), customdata: pairs.map(() => [spec.label]), name: spec.label, mode: "lines+markers",
            line: { color: colour, width: 2 }, marker: { color: colour, symbol, size: 9 }, hovertemplate: "%{customdata[0]}, %{x}: %{y:.4~g}<extra></extra>",
          };
        }),
        layout: { xaxis: { type: "category", categoryorder: "array", categoryarray: layers }, yaxis: { title: { text: unit[measure] }, rangemode: measure.includes("mean") ? "normal" : "tozero" }, uirevision: measure },
      };
    });
    plot("weights-plot", () => {
      const name = byId("layers-weight").value;
      const found = specs.map((spec) => [spec, spec.weights.find((weight) => `${weight.layer}/${weight.weight}` === name)]).filter(([, weight]) => weight?.counts);
      return {
        data: found.map(([spec, { counts, low, high }]) => {
          const width = (high - low) / counts.length || 1, total = counts.reduce((sum, count) => sum + count, 0);
          return {
            x: counts.map((_, i) => low + (i + 0.5) * width), y: counts.map((count) => count / total / width), customdata: counts.map((count) => [spec.label, count]),
            name: spec.label, mode: "lines", line: { color: look[spec.label].colour, width: 2, shape: "hvh" }, hovertemplate: "%{customdata[0]}: %{customdata[1]} values about %{x:.3~g}<extra></extra>",
          };
        }),
        layout: { xaxis: { title: { text: `value in ${name}` } }, yaxis: { title: { text: "density" }, rangemode: "tozero" }, uirevision: name },
      };
    });
    byId("layers-measure").addEventListener("change", () => redraw("layers-plot"));
    byId("layers-kind").addEventListener("change", () => redraw("layers-plot"));
    byId("layers-weight").addEventListener("change", () => redraw("weights-plot"));
  }
})();
