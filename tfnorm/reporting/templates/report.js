"use strict";
// What every page of a report has: theme, contents, sortable tables, plots and their legends, copy buttons.
const report = (() => {
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // Theme ------------------------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const themeButton = byId("theme");
  const showTheme = () => {
    const theme = root.dataset.theme || "system";
    themeButton.replaceChildren("\u25D0 ", make("span", { className: "word", textContent: "Theme: " }), theme);
    themeButton.setAttribute("aria-label", `Theme: ${theme === "system" ? "as the system" : theme}. Change it.`);
  };
  themeButton.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % themes.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try { localStorage.setItem("tfnorm-theme", next); } catch (error) { /* no storage: it holds for this visit */ }
    showTheme();
    redrawAll();
  });
  showTheme();

  // The same hue, light enough for a dark page; the order of light and dark shades turns round.
  const onDark = (colour) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255);
    const most = Math.max(r, g, b), least = Math.min(r, g, b), span = most - least, light = (most + least) / 2;
    const saturation = span === 0 ? 0 : span / (1 - Math.abs(2 * light - 1));
    const turn = span === 0 ? 0 : most === r ? ((g - b) / span + 6) % 6 : most === g ? (b - r) / span + 2 : (r - g) / span + 4;
    const lightness = 0.96 - 0.72 * light, reach = 0.9 * saturation * Math.min(lightness, 1 - lightness);
    return "#" + [0, 8, 4].map((n) => {
      const k = (n + 2 * turn) % 12;
      const value = lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1));
      return Math.round(255 * value).toString(16).padStart(2, "0");
    }).join("");
  };
  const toned = (colour) => (isDark() ? onDark(colour) : colour);
  const tone = (element, colour) => {
    element.style.setProperty("--c", colour);
    element.style.setProperty("--d", onDark(colour));
    return element;
  };
  for (const element of document.querySelectorAll('[style*="--c:"]')) tone(element, element.style.getPropertyValue("--c").trim());
  const swatch = (colour) => tone(make("i", { className: "swatch", ariaHidden: "true" }), colour);

  // The value of a CSS variable in the present theme, as rgb(...).
  const probe = document.body.appendChild(make("span", { hidden: true }));
  const css = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };

  // Contents ---------------------------------------------------------------------------------------------------------
  const contents = byId("contents");
  const links = new Map();
  for (const section of document.querySelectorAll("main > section[id]")) {
    const heading = section.querySelector("h2");
    const link = make("a", { href: `#${section.id}`, textContent: heading.dataset.short || heading.textContent });
    links.set(section, link);
    contents.append(link);
  }
  const inView = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      for (const [section, link] of links) {
        if (section === target) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      const link = links.get(target);
      contents.scrollTo({ left: link.offsetLeft - contents.clientWidth / 2 });
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const section of links.keys()) inView.observe(section);

  // Tables -----------------------------------------------------------------------------------------------------------
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
    return cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(String(b), "en", { numeric: true });
    return a - b;
  };
  const sortBy = (table, column, direction) => {
    const sign = direction === "ascending" ? 1 : -1;
    const missing = (key) => Number.isNaN(key) || key === "";
    const rows = [...table.tBodies].map((body, place) => ({ body, place, key: keyOf(body.rows[0], column) }));
    rows.sort((a, b) => missing(a.key) - missing(b.key) || (missing(a.key) ? 0 : sign * compare(a.key, b.key)) || a.place - b.place);
    table.append(...rows.map((row) => row.body));
    for (const heading of table.tHead.rows[0].cells) heading.setAttribute("aria-sort", "none");
    table.tHead.rows[0].cells[column].setAttribute("aria-sort", direction);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      const number = heading.classList.contains("number");
      if (!number) heading.classList.add("text");
      heading.querySelector("button").addEventListener("click", () => {
        const first = number ? "descending" : "ascending", other = number ? "ascending" : "descending";
        sortBy(table, heading.cellIndex, heading.getAttribute("aria-sort") === first ? other : first);
      });
    }
    const text = [...table.tHead.rows[0].cells].map((heading) => heading.classList.contains("text"));
    for (const row of table.querySelectorAll("tbody tr")) for (const cell of row.cells) cell.classList.toggle("text", text[cell.cellIndex]);
    for (const row of table.querySelectorAll("tr.has-more")) {
      const more = [...row.parentElement.querySelectorAll("tr.more")];
      const button = make("button", { type: "button", className: "unfold", textContent: "\u25B8", title: "The runs of each seed" });
      button.setAttribute("aria-expanded", "false");
      button.setAttribute("aria-label", `The runs of ${row.cells[0].textContent.trim()}`);
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-expanded") !== "true";
        button.setAttribute("aria-expanded", String(open));
        button.textContent = open ? "\u25BE" : "\u25B8";
        for (const line of more) line.hidden = !open;
      });
      row.cells[0].prepend(button);
    }
  }

  // Plots ------------------------------------------------------------------------------------------------------------
  // plotly.js reads <b> and <a href> in text, so that all text is escaped; templates of ours hold no foreign text.
  const TEMPLATES = new Set(["hovertemplate", "texttemplate"]);
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\n/g, "<br>");
  const prepared = (value, key) => {
    if (typeof value === "string") return /^#[0-9a-f]{6}$/i.test(value) ? toned(value) : TEMPLATES.has(key) ? value : escape(value);
    if (Array.isArray(value)) return value.length && typeof value[0] === "number" ? value : value.map((item) => prepared(item, key));
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, prepared(item, name)]));
  };
  const merged = (...objects) => {
    const result = {};
    for (const object of objects) {
      for (const [key, value] of Object.entries(object || {})) {
        const nested = value !== null && typeof value === "object" && !Array.isArray(value) && !ArrayBuffer.isView(value);
        result[key] = nested ? merged(result[key], value) : value;
      }
    }
    return result;
  };
  const basics = () => {
    const ink = css("--ink"), soft = css("--soft"), line = css("--line");
    const axis = { gridcolor: line, linecolor: soft, zerolinecolor: line, tickcolor: soft, automargin: true, ticks: "outside", ticklen: 4, title: { font: { size: 13, color: soft }, standoff: 8 } };
    return {
      axis,
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
        font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: ink },
        margin: { l: 56, r: 12, t: 12, b: 44 },
        hoverlabel: { bgcolor: css("--panel"), bordercolor: soft, font: { color: ink } },
        dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      },
    };
  };
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], displayModeBar: matchMedia("(pointer: coarse)").matches ? false : "hover" };

  let loading = null;
  const plotly = () => {
    loading ||= (async () => {
      const packed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (character) => character.charCodeAt(0));
      const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
      document.head.append(make("script", { textContent: text }));
      return window.Plotly;
    })();
    return loading;
  };

  const plots = new Map();
  const groupOf = (trace) => trace.legendgroup ?? trace.name;
  const draw = async (plot) => {
    plot.wanted = true;
    legendOf(plot, plot.figure().data);
    try {
      await plotly();
    } catch (error) {
      plot.element.replaceChildren(make("p", { className: "waiting", textContent: "This browser cannot unpack the plots; it needs one of 2023 or later." }));
      return;
    }
    await paint(plot);
  };
  const PAPER = { width: 680 };  // of A4 and of Letter, within their margins
  const paint = async (plot, size = {}) => {
    const { data, layout } = plot.figure();
    plot.wanted = true;
    legendOf(plot, data);
    const { axis, layout: basic } = basics();
    const axes = Object.fromEntries(Object.keys({ xaxis: 0, yaxis: 0, ...layout }).filter((key) => /^[xy]axis\d*$/.test(key)).map((key) => [key, axis]));
    const traces = data.map((trace) => ({ ...prepared(trace), ...(plot.hidden.has(groupOf(trace)) ? { visible: false } : {}) }));
    await Plotly.react(plot.element, traces, merged(basic, axes, prepared(layout), size), config);
    if (plot.onClick && !plot.listening) {
      plot.listening = true;
      plot.element.on("plotly_click", (event) => plot.onClick(event.points[0]));
    }
    plot.element.dataset.drawn = "true";
  };
  const legendOf = (plot, data) => {
    const legend = document.querySelector(`[data-legend="${CSS.escape(plot.element.id)}"]`);
    if (!legend) return;
    const groups = new Map();
    for (const trace of data) {
      const colour = trace.line?.color ?? trace.marker?.color ?? trace.fillcolor;
      if (groupOf(trace) !== undefined && !groups.has(groupOf(trace))) groups.set(groupOf(trace), colour);
    }
    if ([...groups.keys()].join("\n") === plot.listed) return;
    plot.listed = [...groups.keys()].join("\n");
    legend.replaceChildren(...[...groups].map(([name, colour]) => {
      const button = make("button", { type: "button", title: "A click hides or shows it; a double click, or Shift and Enter, shows it alone" });
      button.setAttribute("aria-keyshortcuts", "Shift+Enter");
      if (typeof colour === "string") button.append(swatch(colour));
      button.append(name);
      button.setAttribute("aria-pressed", String(!plot.hidden.has(name)));
      const update = () => {
        for (const other of legend.children) other.setAttribute("aria-pressed", String(!plot.hidden.has(other.lastChild.data)));
        draw(plot);
      };
      button.addEventListener("click", () => {
        if (!plot.hidden.delete(name)) plot.hidden.add(name);
        update();
      });
      const isolate = () => {
        const others = [...groups.keys()].filter((other) => other !== name);
        const alone = others.every((other) => plot.hidden.has(other));
        plot.hidden = new Set(alone ? [] : others);
        update();
      };
      button.addEventListener("dblclick", isolate);
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !event.shiftKey) return;
        event.preventDefault();
        isolate();
      });
      return button;
    }));
  };
  const nearby = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      nearby.unobserve(target);
      draw(plots.get(target.id));
    }
  }, { rootMargin: "400px 0px" });
  // Have a plot drawn from a function that returns its figure, when it comes near.
  const plot = (id, figure, onClick) => {
    plots.set(id, { element: byId(id), figure, hidden: new Set(), onClick });
    nearby.observe(byId(id));
  };
  const redraw = (id) => { if (plots.get(id).wanted) draw(plots.get(id)); };
  const redrawAll = () => { for (const id of plots.keys()) redraw(id); };
  system.addEventListener("change", redrawAll);
  // Nothing that comes later is printed: plotly.js is unpacked once the page stands, and paints before this returns.
  // Paper is light.
  addEventListener("load", () => setTimeout(() => plotly().catch(() => {}), 500));
  let theme;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    for (const each of plots.values()) window.Plotly ? paint(each, PAPER) : draw(each);
  });
  addEventListener("afterprint", () => {
    if (theme === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    redrawAll();
  });
  for (const element of document.querySelectorAll(".plot")) {
    if (!byId(`${element.id}-figure`)) continue;
    const figure = read(`${element.id}-figure`);
    plot(element.id, () => figure);
  }

  // Buttons that copy, and groups of buttons of which one is pressed ---------------------------------------------------
  for (const button of document.querySelectorAll("button.copy")) {
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch (error) {  // not allowed for files in some browsers: select it, for Ctrl-C
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = label; }, 1500);
    });
  }
  // Call back with the value of the button that is pressed in a group of class "choice".
  const choice = (id, chosen) => {
    for (const button of byId(id).querySelectorAll("button")) {
      button.addEventListener("click", () => {
        for (const other of byId(id).querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
        chosen(button.value);
      });
    }
  };

  return { byId, choice, css, make, plot, read, redraw };
})();
