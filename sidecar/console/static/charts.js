// Line charts as SVG, drawn with the DOM: the policy of the page allows no inline styles.

import { problemOf, send, word } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 140;
const LEFT = 46;
const BOTTOM = 18;
const COLOURS = 6;

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function shown(value, unit) {
  if (unit === "s") return value < 0.001 ? `${Math.round(value * 1e6)} µs` : `${(value * 1000).toPrecision(3)} ms`;
  return value >= 100 ? Math.round(value).toLocaleString() : Number(value.toPrecision(3)).toString();
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function line(points, x, y) {
  let path = "";
  let pen = "M";
  for (const [at, value] of points) {
    if (value === null) {
      pen = "M";
      continue;
    }
    path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

function plot(chart) {
  const all = chart.series.flatMap((each) => each.points).filter(([, value]) => value !== null);
  if (!all.length) {
    const nothing = document.createElement("p");
    nothing.className = "dim";
    nothing.textContent = chart.error || word("noData");
    return [nothing];
  }
  const times = all.map(([at]) => at);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const top = Math.max(...all.map(([, value]) => value)) || 1;
  const x = (at) => LEFT + ((at - first) / (last - first || 1)) * (WIDTH - LEFT - 6);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 8);
  const newest = chart.series.map((each) => {
    const value = each.points.at(-1)?.[1];
    return `${each.name} ${value == null ? "–" : shown(value, chart.unit)}`.trim();
  });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": newest.join(", ") });
  for (const share of [0, 0.5, 1]) {
    drawing.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - 6, y1: y(top * share), y2: y(top * share) }));
    const label = { class: "axis", x: LEFT - 4, y: y(top * share) + 4, "text-anchor": "end" };
    drawing.append(svg("text", label, shown(top * share, chart.unit)));
  }
  drawing.append(svg("text", { class: "axis", x: LEFT, y: HEIGHT - 4 }, clock(first)));
  drawing.append(svg("text", { class: "axis", x: WIDTH - 6, y: HEIGHT - 4, "text-anchor": "end" }, clock(last)));
  chart.series.forEach((each, number) => {
    drawing.append(svg("path", { class: `s${number % COLOURS}`, d: line(each.points, x, y) }));
  });
  const key = document.createElement("ul");
  key.className = "key";
  newest.forEach((text, number) => {
    const item = document.createElement("li");
    item.className = `k${number % COLOURS}`;
    item.textContent = text;
    key.append(item);
  });
  return [drawing, key];
}

async function load(section, range) {
  const response = await send(`/api/series?range=${encodeURIComponent(range)}`);
  const answer = response.ok ? await response.json() : { charts: [], ...(await problemOf(response)) };
  for (const figure of section.querySelectorAll("[data-chart]")) {
    const chart = answer.charts.find((each) => each.key === figure.dataset.chart);
    const given = chart ?? { series: [], error: answer.message, query: "" };
    figure.querySelector(".plot").replaceChildren(...plot(given));
    figure.querySelector("code").textContent = given.query;
  }
}

export function drawCharts(root) {
  const section = root.querySelector("[data-charts]:not([data-off])");
  if (!section) return;
  const range = section.querySelector("select");
  range.addEventListener("change", () => load(section, range.value));
  load(section, range.value);
}
