"use strict";
// Draws the page's charts with Plotly, which the page holds packed, and ties videos to curves.
// Every chart is an element of class "chart" with its data as JSON in a script element inside; what
// else it holds (a picture) stays when there is no Plotly to be had.

const QUIET = { displaylogo: false, displayModeBar: false, responsive: true };
const DARK = window.matchMedia("(prefers-color-scheme: dark)");

function readJson(parent) {
  return JSON.parse(parent.querySelector('script[type="application/json"]').textContent);
}

async function unpackPlotly() {
  const packed = atob(document.getElementById("plotly").textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

/** Colours are places in the theme's list, or names of its other colours. */
function colour(theme, name) {
  return typeof name === "number" ? theme.colours[name % theme.colours.length] : theme[name];
}

function traceOf(theme, given) {
  const shade = colour(theme, given.colour);
  return {
    type: "scatter",
    mode: "lines",
    // The name is looked up, so that no "%{" in it is taken for a place of Plotly's.
    hovertemplate: "%{x:.4~g}, %{y:.4~g}<extra>%{fullData.name}</extra>",
    ...given.plotly,
    x: given.x,
    y: given.y,
    z: given.z,
    name: given.name,
    line: { color: shade, width: 2, ...given.plotly?.line },
    marker: { color: shade, opacity: 1, ...given.plotly?.marker },
  };
}

function axis(theme, given) {
  return {
    gridcolor: theme.grid,
    zeroline: false,
    automargin: true,
    ...given,
    title: { text: given?.title ?? "", font: { size: 12 }, standoff: 8 },
  };
}

function layoutOf(theme, given) {
  const lines = given.title ? given.title.split("<br>").length : 0;
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: theme.text, size: 12, family: "system-ui, sans-serif" },
    // Below the axis, room for the legend if there is one.
    margin: { l: 10, r: 10, t: 14 + 18 * lines, b: given.showlegend === false ? 40 : 70 },
    hovermode: "closest",
    hoverlabel: { align: "left" },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
    ...given,
    title: { text: given.title ?? "", font: { size: 13 }, x: 0, xanchor: "left" },
    xaxis: axis(theme, given.xaxis),
    yaxis: axis(theme, given.yaxis),
  };
}

function currentTheme() {
  const themes = readJson(document.getElementById("themes"));
  return DARK.matches ? themes.dark : themes.light;
}

/** A chart that only shows. */
function drawChart(element, data) {
  const plot = element.querySelector(".plot");
  const draw = () => {
    const theme = currentTheme();
    const traces = data.traces.map((trace) => traceOf(theme, trace));
    return Plotly.react(plot, traces, layoutOf(theme, data.layout), QUIET);
  };
  DARK.addEventListener("change", draw);
  return draw();
}

/** Value of a curve at a time, that of the frame shown then; null before and after it. */
function valueAt(curve, time) {
  const next = curve.x.findIndex((x) => x > time + 1e-6);
  const index = next < 0 ? curve.x.length - 1 : next - 1;
  return index < 0 ? null : curve.y[index];
}

/** Videos and curves that move together: playing moves a cursor, a click on a curve seeks. */
class Player {
  constructor(element, data) {
    Object.assign(this, { element, data });
    this.plot = element.querySelector(".plot");
    this.video = element.querySelector("video");
    this.choice = element.querySelector("select");
    this.scaled = element.querySelector("input[type=checkbox]");
    this.facts = element.querySelector(".facts");
    this.item = data.items.findIndex((item) => item.film);
    this.hidden = new Set();
  }

  async start() {
    this.item = Math.max(this.item, 0);
    this.choice.addEventListener("change", () => this.select(Number(this.choice.value)));
    this.scaled?.addEventListener("change", () => this.draw());
    DARK.addEventListener("change", () => this.draw());
    for (const event of ["seeked", "timeupdate", "pause"]) {
      this.video.addEventListener(event, () => this.moveCursor());
    }
    this.video.addEventListener("play", () => this.follow());
    await this.select(this.item);
    this.plot.on("plotly_click", (event) => this.seek(event.points[0]));
    this.plot.on("plotly_legendclick", (event) => this.toggle(event));
    this.plot.on("plotly_legenddoubleclick", (event) => this.isolate(event));
  }

  /** Shows a video and brings its curves to the front. */
  select(item, time = 0) {
    const { film, facts, name } = this.data.items[item];
    this.item = item;
    this.choice.value = String(item);
    this.facts.textContent = facts ?? "";
    this.video.hidden = !film;
    this.video.setAttribute("aria-label", name);
    if (film && this.video.getAttribute("src") !== film) {
      this.video.src = film;
    }
    this.video.currentTime = time;
    return this.draw(time);
  }

  seek(point) {
    const item = this.curves[point.curveNumber]?.item;
    if (item === undefined) return;
    this.video.pause();
    this.select(item, point.x + 1e-3);
  }

  group(event) {
    return this.groups[event.curveNumber - this.curves.length - 1];
  }

  /** Returns false, so that Plotly leaves the work to us: curves are redrawn with every choice. */
  toggle(event) {
    const group = this.group(event);
    if (!this.hidden.delete(group)) this.hidden.add(group);
    this.draw();
    return false;
  }

  isolate(event) {
    const group = this.group(event);
    const alone = !this.hidden.has(group) && this.hidden.size === this.groups.length - 1;
    this.hidden = new Set(alone ? [] : this.groups.filter((other) => other !== group));
    this.draw();
    return false;
  }

  draw(time = this.video.currentTime) {
    const theme = currentTheme();
    // The chosen video's curves are drawn last, on top of the others.
    const mine = (curve) => Number(curve.item === this.item);
    const shown = this.data.curves.filter((curve) => mine(curve) || this.isBackdrop(curve));
    this.curves = shown.sort((a, b) => mine(a) - mine(b)).map((curve) => this.scale(curve));
    this.top = 1.06 * Math.max(...this.curves.flatMap((curve) => curve.y), 1e-9);
    const byGroup = new Map(this.data.curves.map((curve) => [curve.group, curve]));
    this.groups = [...byGroup.keys()];
    const traces = [
      ...this.curves.map((curve) => this.trace(theme, curve)),
      this.cursor(theme, time),
      ...[...byGroup.values()].map((curve) => this.legendEntry(theme, curve)),
    ];
    const layout = structuredClone(this.data.layout);
    layout.yaxis = { ...layout.yaxis, range: [0, this.top] };
    if (this.scaled?.checked) layout.yaxis.title = this.data.scaled_ylabel;
    return Plotly.react(this.plot, traces, layoutOf(theme, layout), QUIET);
  }

  /** Whether a curve is drawn faintly behind another video's; all of them would be a thicket. */
  isBackdrop(curve) {
    return this.scaled && !curve.dash;
  }

  scale(curve) {
    const first = this.scaled?.checked ? curve.y[0] || 1 : 1;
    return { ...curve, y: curve.y.map((y) => (y === null ? null : y / first)) };
  }

  trace(theme, curve) {
    const strong = curve.item === this.item;
    const line = { color: colour(theme, curve.colour), dash: curve.dash };
    return {
      ...traceOf(theme, curve),
      line: { ...line, width: curve.dash ? 1.5 : strong ? 3 : 1.2 },
      opacity: strong ? 1 : 0.4,
      showlegend: false,
      visible: !this.hidden.has(curve.group),
    };
  }

  /** Without points: the curves of a group are drawn in several strengths, this in one. */
  legendEntry(theme, curve) {
    return {
      ...traceOf(theme, { ...curve, plotly: {}, x: [null], y: [null], name: curve.group }),
      line: { color: colour(theme, curve.colour), dash: curve.dash, width: 2.5 },
      visible: this.hidden.has(curve.group) ? "legendonly" : true,
    };
  }

  /** A vertical line at the time shown, with a dot on the chosen video's first curve. */
  cursor(theme, time) {
    const value = valueAt(this.mainCurve(), time);
    return {
      x: [time, time, time],
      y: [0, value, this.top],
      mode: "lines+markers",
      line: { color: theme.faint, width: 1 },
      marker: { color: theme.text, size: [0, 11, 0], opacity: 1 },
      hoverinfo: "skip",
      showlegend: false,
      name: "cursor",
    };
  }

  mainCurve() {
    return this.curves.find((curve) => curve.item === this.item && !curve.dash) ?? { x: [], y: [] };
  }

  moveCursor() {
    const { x, y } = this.cursor(currentTheme(), this.video.currentTime);
    return Plotly.restyle(this.plot, { x: [x], y: [y] }, [this.curves.length]);
  }

  async follow() {
    while (!this.video.paused && !this.video.ended) {
      await this.moveCursor();
      await new Promise(requestAnimationFrame);
    }
  }
}

async function start() {
  await unpackPlotly();
  for (const element of document.querySelectorAll(".chart")) {
    const data = readJson(element);
    element.classList.add("live");
    await (data.items ? new Player(element, data).start() : drawChart(element, data));
  }
  document.documentElement.dataset.charts = "drawn";
}

start();
