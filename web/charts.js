// SPDX-License-Identifier: Apache-2.0
// The last minutes as charts (Chart.js, which Debian packages): from the daemon's history first, and then on from the
// stream. What was not observed is a gap.

import {call, devicePath} from "./api.js";
import {h, setText} from "./dom.js";
import {byteRate, clock, packetRate, rate} from "./format.js";

const RANGES = [
    {title: "10 min", step: 1, span: 600, tick: 120},
    {title: "2 h", step: 10, span: 7200, tick: 1800},
    {title: "24 h", step: 60, span: 86400, tick: 14400},
];
const CHARTS = [
    {id: "throughput", title: "Throughput", unit: byteRate, lines: [["out", "outBytes"], ["in", "inBytes"]]},
    {id: "packets", title: "Packets", unit: packetRate, lines: [["out", "outPackets"], ["in", "inPackets"]]},
    {id: "drops", title: "Drops", unit: rate, lines: [["lost", "lost"]]},
];

let library = null;
/** Chart.js is read when the first chart is drawn. */
function loadLibrary() {
    library ||= new Promise((resolve, reject) => {
        document.head.append(h("script", {src: "/assets/chart.min.js", onload: () => resolve(window.Chart), onerror: () => {
            library = null; // the next chart tries again
            reject();
        }}));
    });
    return library;
}

/** What a colour of style.css is in this theme. */
function colour(name) {
    const probe = h("i", {class: `ink-${name}`});
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
}

// ---- samples --------------------------------------------------------------------------------------------------------

/** History's answer as samples {t, outBytes, …}, each a second's rate. */
function samplesOf(history) {
    const {series, step_s: step} = history, end = Date.parse(history.end);
    const of = (...names) => names.map((n) => series[n]).find((values) => values && values.some((v) => v !== null)) || [];
    const columns = {outBytes: of("worker.device_in.bytes", "kernel.tx_bytes"), inBytes: of("worker.device_out.bytes", "kernel.rx_bytes"),
        outPackets: of("worker.device_in.packets", "kernel.tx_packets"), inPackets: of("worker.device_out.packets", "kernel.rx_packets")};
    const worker = series["worker.drops"] || [], kernel = series["kernel.dropped"] || [];
    const length = Math.max(0, ...Object.values(series).map((values) => values.length));
    return Array.from({length}, (_, i) => {
        const per = (v) => (typeof v === "number" ? v / step : null);
        const sample = {t: end - (length - 1 - i) * step * 1000};
        for (const [name, values] of Object.entries(columns))
            sample[name] = per(values[i]);
        const lost = [worker[i], kernel[i]].filter((v) => typeof v === "number");
        sample.lost = lost.length ? per(lost.reduce((a, b) => a + b)) : null;
        return sample;
    });
}

// ---- charts ---------------------------------------------------------------------------------------------------------

function makeChart(Chart, canvas, kind) {
    return new Chart(canvas, {
        type: "line",
        data: {datasets: kind.lines.map(([name]) => ({label: name, data: [], borderWidth: 1.5, pointRadius: 0, pointHitRadius: 8, fill: true, tension: 0}))},
        options: {
            animation: false, parsing: false, normalized: true, responsive: true, maintainAspectRatio: false, spanGaps: false,
            interaction: {mode: "nearest", axis: "x", intersect: false},
            plugins: {legend: {display: false}, tooltip: {displayColors: true, callbacks: {
                title: (items) => (items.length ? clock(items[0].parsed.x) : ""), label: (item) => ` ${item.dataset.label} ${kind.unit(item.parsed.y)}`}}},
            scales: {
                x: {type: "linear", grid: {drawTicks: true}, ticks: {maxRotation: 0, autoSkip: false, callback: (t) => clock(t).slice(0, 5)}},
                y: {beginAtZero: true, suggestedMax: 1, ticks: {maxTicksLimit: 5, callback: (v) => kind.unit(v)}, afterFit: (axis) => {
                    axis.width = 82; // the three stand below each other
                }},
            },
        },
    });
}

function paint(chart, kind) {
    kind.lines.forEach(([name], i) => {
        const set = chart.data.datasets[i];
        set.borderColor = colour(name);
        set.backgroundColor = colour(`${name}-soft`);
    });
    for (const scale of Object.values(chart.options.scales)) {
        scale.ticks.color = colour("muted");
        scale.grid.color = colour("line");
        scale.grid.borderColor = colour("line");
    }
    Object.assign(chart.options.plugins.tooltip, {backgroundColor: colour("text"), titleColor: colour("surface"), bodyColor: colour("surface")});
}

export function historyCharts(container, name) {
    let range = RANGES[0], samples = [], charts = [], ended = false, turn = 0, timer = 0;
    const radios = RANGES.map((r, i) => h("label", {class: "chip"}, h("input", {type: "radio", name: "range", value: r.title, checked: i === 0, onchange: () => choose(r)}), r.title));
    const said = h("p", {class: "hint", role: "status"});
    const figures = CHARTS.map((kind) => {
        const canvas = h("canvas", {role: "img", id: `chart-${kind.id}`, "aria-label": kind.title}), now = h("span", {class: "now"});
        const legend = kind.lines.map(([line]) => h("span", {class: `key ${line}`}, line === "lost" ? "all reasons" : line));
        return {kind, canvas, now, figure: h("figure", {class: `chart ${kind.id}`}, h("figcaption", {}, h("strong", {}, kind.title), legend, now), h("div", {class: "plot"}, canvas))};
    });
    const ranges = h("div", {class: "chips", role: "radiogroup", "aria-label": "How far back"}, radios);
    container.append(h("div", {class: "card-head"}, h("h2", {}, "The last minutes"), ranges), said, ...figures.map((f) => f.figure));

    function draw() {
        if (!charts.length || ended)
            return;
        const now = samples.length ? samples[samples.length - 1].t : Date.now(), from = now - range.span * 1000;
        const first = Math.ceil(from / (range.tick * 1000)) * range.tick * 1000, ticks = [];
        for (let t = first; t <= now; t += range.tick * 1000)
            ticks.push({value: t});
        figures.forEach(({kind, canvas, now: last}, n) => {
            const chart = charts[n];
            kind.lines.forEach(([, key], i) => {
                chart.data.datasets[i].data = samples.map((x) => ({x: x.t, y: x[key]}));
            });
            chart.options.scales.x.min = from;
            chart.options.scales.x.max = now;
            chart.options.scales.x.afterBuildTicks = (axis) => {
                axis.ticks = ticks;
            };
            chart.update("none");
            const latest = samples[samples.length - 1];
            const text = latest ? kind.lines.map(([line, key]) => `${line === "lost" ? "" : `${line} `}${kind.unit(latest[key])}`).join(", ") : "";
            setText(last, text);
            canvas.setAttribute("aria-label", `${kind.title} of the last ${range.title}: now ${text}`);
        });
    }

    /** From the history; afterwards the stream goes on. */
    async function choose(wanted) {
        const mine = ++turn;
        range = wanted;
        clearTimeout(timer);
        try {
            const {json} = await call("GET", `${devicePath(name)}/history?step_s=${range.step}&limit=${range.span / range.step}`);
            if (mine !== turn || ended)
                return;
            const end = Date.parse(json.end), newer = range.step === 1 ? samples.filter((x) => x.t > end) : [];
            samples = [...samplesOf(json), ...newer];
            setText(said, "");
        } catch (problem) {
            if (mine !== turn || ended)
                return;
            if (range.step !== 1)
                samples = [];
            setText(said, problem.status === 404 || problem.status === 400 ? "" : problem.message);
        }
        draw();
        if (range.step > 1)
            timer = setTimeout(() => choose(range), range.step * 1000);
    }

    function add(live) {
        if (range.step !== 1 || !live.rates || (samples.length && live.time <= samples[samples.length - 1].t))
            return;
        const before = samples[samples.length - 1];
        if (before && live.time - before.t > 5000)
            samples.push({t: before.t + 1000, outBytes: null, inBytes: null, outPackets: null, inPackets: null, lost: null}); // a gap
        samples.push({t: live.time, outBytes: live.outBytes, inBytes: live.inBytes, outPackets: live.outPackets, inPackets: live.inPackets, lost: live.lost});
        const oldest = live.time - range.span * 1000;
        while (samples.length && samples[0].t < oldest)
            samples.shift();
        draw();
    }

    function repaint() {
        charts.forEach((chart, i) => paint(chart, CHARTS[i]));
        draw();
    }

    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", repaint);
    loadLibrary().then((Chart) => {
        if (ended)
            return;
        Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
        Chart.defaults.font.size = 11;
        charts = figures.map((f) => makeChart(Chart, f.canvas, f.kind));
        repaint();
    }, () => setText(said, "The charts cannot be drawn: their library did not come."));
    choose(range);
    return {add, repaint, again: () => choose(range), end: () => {
        ended = true;
        clearTimeout(timer);
        system.removeEventListener("change", repaint);
        charts.forEach((chart) => chart.destroy());
    }};
}
