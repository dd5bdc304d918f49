// SPDX-License-Identifier: Apache-2.0
// Draws what page/data.py has written. Names are anybody's words: they become text, never markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const [NUMBER, STEP, INDEX, STATUS, EXIT, HOST, JOB, READY, STARTED, ENDED, SHARE, MEMORY, READ,
    WRITTEN, CORES, ASKED, PROBLEM] = Array(17).keys();
  const critical = new Set(data.critical);

  const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
  const nameOf = (row) => data.steps[row[STEP]] + (row[INDEX] === null ? "" : ` (${row[INDEX]})`);
  const decimal = (number) => number.toFixed(1).replace(/\.0$/, "");

  function size(bytes) {
    if (bytes === null) return "–";
    let unit = 0;
    while (bytes >= 1024 && unit < 5) { bytes /= 1024; unit += 1; }
    return `${decimal(bytes)} ${["B", "KB", "MB", "GB", "TB", "PB"][unit]}`;
  }
  function time(ms) {
    if (ms === null) return "–";
    if (ms < 1000) return `${Math.round(ms)}ms`;
    if (ms < 59950) return `${decimal(ms / 1000)}s`;
    const all = Math.round(ms / 1000);
    return [[Math.floor(all / 86400), "d"], [Math.floor(all / 3600) % 24, "h"],
      [Math.floor(all / 60) % 60, "m"], [all % 60, "s"]]
      .filter(([n]) => n).map(([n, unit]) => n + unit).join(" ");
  }
  const ran = (row) => row[STARTED] === null ? null
    : Math.max(0, (row[ENDED] ?? data.now) - row[STARTED]);

  // The table of all steps. Types are given, as they would be guessed from all rows.
  function column(title, type, get, show, name) {
    return {
      title, type, className: name ?? (type === "num" ? "number" : ""),
      data: (row, what) => {
        const value = get(row);
        if (what === "sort" || what === "type") return value ?? (type === "num" ? -1 : "");
        return value === null ? "–" : escaped(show ? show(value) : value);
      },
    };
  }
  const table = new DataTable("#steps-table", {
    data: data.rows, deferRender: true, autoWidth: false, orderClasses: false, pageLength: 50,
    lengthMenu: [25, 50, 100, 500],
    order: [[0, "asc"]],
    language: { search: "Search all columns:" },
    columns: [
      column("No.", "num", (row) => row[NUMBER]),
      column("Step", "string", nameOf),
      {
        title: "Status", type: "string",
        data: (row, what) => {
          const word = data.statuses[row[STATUS]];
          if (what !== "display") return word;
          const mark = critical.has(row[NUMBER]) ? " ◆" : "";
          return `<span class="status ${word}">${word}</span>${mark}`;
        },
      },
      column("Exit", "num", (row) => row[EXIT]),
      column("Node", "string", (row) => data.hosts[row[HOST]]),
      column("Job", "string", (row) => row[JOB]),
      column("Ready at", "num", (row) => row[READY], time),
      column("Waited", "num", (row) => row[STARTED] === null || row[READY] === null ? null
        : Math.max(0, row[STARTED] - row[READY]), time),
      column("Ran", "num", ran, time),
      column("CPU", "num", (row) => row[SHARE], (share) => `${share.toFixed(1)}%`),
      column("Memory", "num", (row) => row[MEMORY], size),
      column("Asked", "num", (row) => row[ASKED], size),
      column("Cores asked", "num", (row) => row[CORES]),
      column("Read", "num", (row) => row[READ], size),
      column("Written", "num", (row) => row[WRITTEN], size),
      column("Why", "string", (row) => row[PROBLEM], null, "problem"),
    ],
  });
  document.getElementById("status-filter").addEventListener("change", (event) => {
    table.column(2).search(event.target.value).draw();
  });
  performance.mark("table");

  const charts = [];
  function chart(id, height, label) {
    const place = document.getElementById(id);
    place.style.height = `${height}px`;
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", label);
    const made = echarts.init(place, null, { renderer: "canvas" });
    charts.push(made);
    return made;
  }
  const words = () => ({ color: color("text"), fontSize: 12 });

  function stateOf(node) {
    if (!node.has_jobs) return "SUBMITTED";
    return ["FAILED", "RUNNING", "ABORTED", "SUBMITTED", "COMPLETED", "CACHED"]
      .find((word) => node.counts[word]) ?? "SUBMITTED";
  }

  function drawGraph() {
    if (!data.nodes.length) return;
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: 24, ranksep: 46 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const node of data.nodes) {
      graph.setNode(node.path, { width: Math.max(110, 9 * node.path.length + 20), height: 44 });
    }
    const links = [];
    for (const node of data.nodes) {
      for (const before of node.before) {
        if (!graph.hasNode(before)) continue;
        graph.setEdge(before, node.path);
        links.push({ source: before, target: node.path });
      }
    }
    dagre.layout(graph);
    const wide = Math.max(1, graph.graph().width), high = Math.max(1, graph.graph().height);
    const made = chart("graph", Math.min(900, Math.max(180, high + 60)),
      "The steps of the workflow and what they give each other; the same is in the table below.");
    const scale = Math.min(1, (made.getWidth() - 40) / wide, (made.getHeight() - 30) / high);
    made.setOption({
      animation: false,
      tooltip: {
        backgroundColor: color("panel"), textStyle: words(),
        formatter: (point) => point.dataType === "edge" ? "" : escaped(point.data.about),
      },
      series: [{
        type: "graph", layout: "none", roam: true, symbol: "rect",
        left: "center", top: "middle", width: wide * scale, height: high * scale,
        edgeSymbol: ["none", "arrow"], edgeSymbolSize: 8,
        lineStyle: { color: color("dim"), width: 1.2, curveness: 0 },
        label: { show: true, color: color("text"), fontSize: 11, lineHeight: 15 },
        data: data.nodes.map((node) => {
          const place = graph.node(node.path);
          const jobs = Object.values(node.counts).reduce((a, b) => a + b, 0);
          const state = stateOf(node);
          const counts = Object.entries(node.counts).map(([word, n]) => `${n} ${word}`).join(", ");
          const all = jobs > 1 ? `${jobs} jobs, ` : "";
          const what = node.has_jobs ? `${all}${time(1000 * node.seconds)}` : "expression";
          return {
            name: node.path, x: place.x, y: place.y,
            symbolSize: [place.width * scale, 40 * Math.max(scale, 0.6)],
            about: `${node.path}: ${counts || "nothing yet"}. ${node.label}`,
            // The box is the label's: the border of a symbol would be stretched with it.
            itemStyle: { color: "transparent" },
            label: {
              formatter: () => `${node.path}\n${what}`, align: "center",
              color: color(state === "FAILED" ? state : "text"), padding: [6, 10],
              borderRadius: 5, backgroundColor: color("panel"),
              borderColor: node.critical ? color("critical") : color(state),
              borderWidth: node.critical ? 3 : 1.5,
              borderType: node.has_jobs ? "solid" : "dashed",
            },
          };
        }),
        links,
      }],
    });
  }

  // Bars in as many lanes as there were steps at one time.
  function lanes(rows) {
    const free = [], found = [];
    for (const row of [...rows].sort((a, b) => a[STARTED] - b[STARTED])) {
      const end = row[STARTED] + ran(row);
      let lane = free.findIndex((until) => until <= row[STARTED]);
      if (lane < 0) lane = free.push(0) - 1;
      free[lane] = end;
      found.push([lane, row[STARTED], end, row]);
    }
    return [found, free.length];
  }

  function drawTimeline() {
    const rows = data.rows.filter((row) => row[STARTED] !== null);
    if (!rows.length) return;
    const [bars, count] = lanes(rows);
    const made = chart("timeline", Math.min(700, 90 + 16 * Math.max(4, count)),
      "When each step ran; the same is in the table of all steps.");
    const fills = data.statuses.map(color), edge = color("critical"), back = color("back");
    made.setOption({
      animation: false,
      tooltip: {
        backgroundColor: color("panel"), textStyle: words(),
        formatter: (point) => {
          const row = bars[point.dataIndex][3];
          return [nameOf(row), data.statuses[row[STATUS]], time(ran(row)), data.hosts[row[HOST]]]
            .map(escaped).join("<br>");
        },
      },
      grid: { left: 12, right: 24, top: 8, bottom: 64 },
      xAxis: {
        type: "value", min: 0, max: Math.max(data.now, 1),
        axisLabel: { formatter: (ms) => ms === 0 ? "0" : time(ms), color: color("dim") },
        splitLine: { lineStyle: { color: color("line") } },
      },
      yAxis: { type: "value", min: 0, max: Math.max(count, 4), inverse: true, show: false },
      dataZoom: [
        { type: "slider", xAxisIndex: 0, height: 22, bottom: 8, filterMode: "weakFilter" },
        { type: "inside", xAxisIndex: 0, filterMode: "weakFilter", zoomOnMouseWheel: "ctrl" },
      ],
      series: [{
        type: "custom", encode: { x: [1, 2], y: 0 }, clip: true, progressive: 0,
        data: bars.map((bar) => bar.slice(0, 3)),
        renderItem: (params, api) => {
          const row = bars[params.dataIndex][3];
          const from = api.coord([api.value(1), api.value(0)]);
          const to = api.coord([api.value(2), api.value(0) + 1]);
          const high = Math.max(1, to[1] - from[1] - 1);
          const shape = echarts.graphic.clipRectByRect(
            { x: from[0], y: from[1], width: Math.max(1, to[0] - from[0]), height: high },
            { x: params.coordSys.x, y: params.coordSys.y, width: params.coordSys.width,
              height: params.coordSys.height });
          const marked = critical.has(row[NUMBER]);
          return shape && { type: "rect", shape, style: {
            fill: fills[row[STATUS]], stroke: marked ? edge : back, lineWidth: marked ? 2 : 0.3 } };
        },
      }],
    });
    const zoom = (factor) => {
      const now = made.getOption().dataZoom[0], middle = (now.start + now.end) / 2;
      const half = factor ? Math.min(50, (now.end - now.start) / 2 * factor) : 50;
      const start = factor ? Math.min(100 - 2 * half, Math.max(0, middle - half)) : 0;
      made.dispatchAction({ type: "dataZoom", dataZoomIndex: 0, start, end: start + 2 * half });
    };
    for (const [id, factor] of [["zoom-in", 0.5], ["zoom-out", 2], ["zoom-all", 0]]) {
      document.getElementById(id).onclick = () => zoom(factor);
    }
  }

  function five(values) {
    const sorted = values.sort((a, b) => a - b);
    const at = (part) => {
      const place = part * (sorted.length - 1), low = Math.floor(place);
      return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
    };
    return [0, 0.25, 0.5, 0.75, 1].map(at);
  }

  function drawMemory() {
    const groups = new Map();
    for (const row of data.rows) {
      if (row[MEMORY] === null) continue;
      const group = groups.get(row[STEP]) ?? { values: [], asked: null };
      group.values.push(row[MEMORY]);
      group.asked = Math.max(group.asked ?? 0, row[ASKED] ?? 0) || null;
      groups.set(row[STEP], group);
    }
    if (!groups.size) return;
    const most = Math.max(1, ...[...groups.values()].map((group) =>
      group.values.reduce((a, b) => Math.max(a, b), group.asked ?? 0)));
    const names = [...groups.keys()].map((step) => data.steps[step]);
    const made = chart("memory", Math.min(900, 90 + 26 * names.length),
      "Memory of each step, used and asked for; the same is in the table below.");
    made.setOption({
      animation: false,
      tooltip: {
        backgroundColor: color("panel"), textStyle: words(),
        formatter: (point) => point.seriesType === "boxplot"
          ? `${escaped(names[point.dataIndex])}<br>${["least", "quarter", "median", "three quarters",
            "most"].map((word, i) => `${word} ${size(point.data[i])}`).join("<br>")}`
          : `${escaped(names[point.dataIndex])}<br>asked for ${size(point.data[0])}`,
      },
      grid: { left: 8, right: 30, top: 8, bottom: 30, containLabel: true },
      xAxis: {
        type: "value", min: 0, interval: 2 ** Math.ceil(Math.log2(most / 7)),
        axisLabel: { formatter: (bytes) => bytes ? size(bytes) : "0",
          color: color("dim") }, splitLine: { lineStyle: { color: color("line") } },
      },
      yAxis: { type: "category", data: names, inverse: true,
        axisLabel: { color: color("text"), width: 220, overflow: "truncate" } },
      series: [
        { type: "boxplot", data: [...groups.values()].map((group) => five(group.values)),
          itemStyle: { color: color("panel"), borderColor: color("CACHED") } },
        { type: "scatter", symbol: "diamond", symbolSize: 11, itemStyle: { color: color("critical") },
          data: [...groups.values()].map((group, i) => [group.asked, i]) },
      ],
    });
  }

  function drawAll() {
    for (const made of charts.splice(0)) made.dispose();
    document.documentElement.classList.toggle("dark", dark.matches);
    for (const [id, draw] of [["graph", drawGraph], ["timeline", drawTimeline],
      ["memory", drawMemory]]) {
      document.getElementById(id).hidden = false; // what is hidden has no size
      draw();
      document.getElementById(id).hidden = !echarts.getInstanceByDom(document.getElementById(id));
    }
    performance.mark("drawn");
    document.body.dataset.drawn = "yes";
  }
  // The table is of use before the charts are.
  requestAnimationFrame(() => setTimeout(drawAll, 0));
  dark.addEventListener("change", drawAll);
  window.addEventListener("resize", () => charts.forEach((made) => made.resize()));
})();
