// SPDX-License-Identifier: Apache-2.0
// The packet's path, as the classic picture: application – protocol stack – device – worker – socket – outer interface –
// peer, what flows on each arrow in both directions, and what is dropped where. Wide: from left to right; on a phone: from
// top to bottom.
//
// The picture is drawn anew only where its shape is another one; once a second only figures are written into it.

import {s, setAttribute, setClass, setText} from "./dom.js";
import {byteRate, count, packetRate, rate, whole} from "./format.js";

const WIDE = 820, BOX = 108, BOX_HEIGHT = 92, TALL_BOX = 136, TALL_HEIGHT = 66, TALL_GAP = 62, LINE = 15;

/** Where a packet that went nowhere was last seen, and what its reason means. */
const REASONS = {
    "kernel.rx_dropped": ["stack", "the protocol stack did not take it from the device"],
    "kernel.rx_errors": ["stack", "the protocol stack could not read it"],
    "kernel.tx_dropped": ["device", "the device's queue was full: the worker was slower than the stack"],
    "kernel.tx_errors": ["device", "the device could not take it"],
    device_down: ["device", "the device is down"],
    no_peer: ["worker", "there was nobody to send it to"],
    too_big: ["worker", "it did not fit the path's MTU, and could neither be answered nor fragmented"],
    malformed: ["worker", "its lengths or headers contradict each other, or it is not what the device carries"],
    unauthenticated: ["worker", "it did not prove to come from the peer"],
    replayed: ["worker", "it was received before"],
    queue_full: ["worker", "the socket or the device could not take it then"],
    loop: ["worker", "it was addressed to the peer's own endpoint"],
    ecn: ["worker", "it met congestion outside, and is not ECN-capable inside"],
    not_forwarded: ["worker", "it was read, and by design not sent on"],
    unknown_source: ["socket", "it came from the wire, and not from the peer"],
    rcvbuf_full: ["socket", "the socket's receive buffer was full: the worker was slower than the wire"],
    wire_error: ["socket", "the socket refused it: unreachable, not permitted, …"],
};
const placeOf = (reason, stages) => {
    const place = (REASONS[reason] || ["worker"])[0];
    return stages.some((stage) => stage.id === place) ? place : "worker";
};
const meaningOf = (reason) => (REASONS[reason] || [null, ""])[1];

// ---- what is on the way ---------------------------------------------------------------------------------------------

const hostOf = (endpoint) => endpoint.slice(0, endpoint.lastIndexOf(":"));

function stagesOf(device) {
    const {worker, status} = device, leads = [...device.routes.filter((r) => r.type === "unicast").map((r) => r.to), ...device.addresses];
    const stages = [
        {id: "app", title: "Application", lines: ["on this host"]},
        {id: "stack", title: "Protocol stack", lines: leads.length > 2 ? [leads[0], `and ${leads.length - 1} more`] : leads.length ? leads : ["no route leads here"]},
        {id: "device", title: device.name, lines: [`${device.kind}, MTU ${status.mtu ?? device.mtu}`, device.up ? (status.carrier ? "up" : "up, no carrier") : "down"], strong: true},
        {id: "worker", title: worker ? "Worker" : "No worker", lines: worker ? [worker.type, status.worker ? status.worker.state : "none runs"] : ["packets wait here"], absent: !worker, strong: true},
    ];
    if (worker && worker.remote)
        stages.push({id: "socket", title: "Socket", lines: ["UDP", worker.local]},
            {id: "outer", title: "Outer interface", lines: [worker.interface || "by route", hostOf(worker.local)]},
            {id: "peer", title: "Peer", lines: [hostOf(worker.remote), `port ${worker.remote.slice(worker.remote.lastIndexOf(":") + 1)}`]});
    return stages;
}

/** What is counted between two stages, by their place: outwards, inwards. */
const KERNEL = ["kernel.tx", "kernel.rx"], DEVICE = ["device_in", "device_out"], WIRE = ["wire_out", "wire_in"];
const countedBetween = (i) => (i < 2 ? KERNEL : i === 2 ? DEVICE : WIRE);

function flow(live, name) {
    if (!live || !live.rates)
        return null;
    if (name.startsWith("kernel.")) {
        const way = name.slice(7), kernel = live.rates.kernel;
        return kernel && {packets: kernel[`${way}_packets`], bytes: kernel[`${way}_bytes`]};
    }
    return live.rates.worker ? live.rates.worker[name] : null;
}

// ---- the drawing ----------------------------------------------------------------------------------------------------

const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function box(stage, x, y, width, height) {
    const middle = x + width / 2, top = y + height / 2 - stage.lines.length * 8;
    return s("g", {class: `stage ${stage.id} ${stage.strong ? "strong" : ""} ${stage.absent ? "absent" : ""}`},
        s("title", {}, [stage.title, ...stage.lines].join(", ")),
        s("rect", {x, y, width, height, rx: 10}),
        s("text", {x: middle, y: top + 1, class: "title"}, clip(stage.title, 16)),
        stage.lines.map((line, i) => s("text", {x: middle, y: top + 19 + i * 16, class: "line"}, clip(line, Math.floor(width / 7)))));
}

/** An arrow that can be seen to flow, and its two figures. */
function arrow(from, to, way, labels, name) {
    const [x1, y1] = from, [x2, y2] = to, along = x1 === x2 ? [0, Math.sign(y2 - y1)] : [Math.sign(x2 - x1), 0];
    const base = [x2 - along[0] * 7, y2 - along[1] * 7], side = [along[1] * 4, along[0] * 4];
    const path = s("path", {class: "shaft", d: `M${x1} ${y1}L${base[0]} ${base[1]}`});
    const head = s("path", {class: "point", d: `M${x2} ${y2}L${base[0] + side[0]} ${base[1] + side[1]}L${base[0] - side[0]} ${base[1] - side[1]}Z`});
    const packets = s("text", labels.packets, "–"), bytes = s("text", labels.bytes, "–");
    const group = s("g", {class: `flow ${way}`, "data-flow": name}, s("title", {}, `counted as ${name}`), path, head, packets, bytes);
    return {group, name, packets, bytes};
}

function lossLine(x, y, reason, anchor) {
    const text = s("text", {x, y, class: "loss-text", "text-anchor": anchor});
    const title = s("title", {}, "");
    return {reason, text, node: s("g", {class: "loss-line", "data-reason": reason}, title, text), title};
}

function drawWide(width, stages, losses) {
    const parts = {flows: [], losses: [], nodes: []}, gap = (width - stages.length * BOX) / (stages.length - 1), step = Math.min(gap, 150) + BOX;
    const left = (width - (step * (stages.length - 1) + BOX)) / 2, top = 44, middle = top + BOX_HEIGHT / 2;
    stages.forEach((stage, i) => {
        const x = left + i * step;
        parts.nodes.push(box(stage, x, top, BOX, BOX_HEIGHT));
        const lost = losses.get(stage.id) || [];
        if (lost.length)
            parts.nodes.push(s("path", {class: "loss", d: `M${x + BOX / 2} ${top + BOX_HEIGHT + 2}v16m-5 -6l5 6l5 -6`}));
        lost.forEach((reason, n) => parts.losses.push(lossLine(x + BOX / 2, top + BOX_HEIGHT + 34 + n * LINE, reason, "middle")));
        if (i + 1 === stages.length || stages[i + 1].absent)
            return;
        const a = x + BOX + 4, b = x + step - 4, at = (a + b) / 2, [out, into] = countedBetween(i);
        const text = (y) => ({x: at, y, class: "rate", "text-anchor": "middle"});
        parts.flows.push(arrow([a, middle - 12], [b, middle - 12], "out", {packets: text(middle - 36), bytes: text(middle - 21)}, out),
            arrow([b, middle + 12], [a, middle + 12], "in", {packets: text(middle + 29), bytes: text(middle + 44)}, into));
    });
    const most = Math.max(0, ...[...losses.values()].map((l) => l.length));
    parts.height = top + BOX_HEIGHT + (most ? 34 + most * LINE : 12);
    parts.nodes.push(s("text", {x: left, y: 16, class: "way out"}, "out →"), s("text", {x: left + 64, y: 16, class: "way in"}, "← in"));
    return parts;
}

function drawTall(width, stages, losses) {
    const parts = {flows: [], losses: [], nodes: []}, middle = width / 2 - 18, x = middle - TALL_BOX / 2;
    let y = 22;
    stages.forEach((stage, i) => {
        const lost = losses.get(stage.id) || [], height = Math.max(TALL_HEIGHT, lost.length * 27 + 6);
        parts.nodes.push(box(stage, x, y, TALL_BOX, height));
        if (lost.length)
            parts.nodes.push(s("path", {class: "loss", d: `M${x + TALL_BOX + 1} ${y + height / 2}h9m-5 -5l5 5l-5 5`}));
        lost.forEach((reason, n) => parts.losses.push({...lossLine(x + TALL_BOX + 14, y + height / 2 - lost.length * 13 + n * 27 + 10, reason, "start"), narrow: true}));
        y += height;
        if (i + 1 === stages.length || stages[i + 1].absent) {
            y += 26;
            return;
        }
        const a = y + 4, b = y + TALL_GAP - 4, [out, into] = countedBetween(i), at = (a + b) / 2;
        const text = (where, line, anchor) => ({x: where, y: line, class: "rate", "text-anchor": anchor});
        parts.flows.push(arrow([middle - 20, a], [middle - 20, b], "out", {packets: text(middle - 30, at - 4, "end"), bytes: text(middle - 30, at + 12, "end")}, out),
            arrow([middle + 20, b], [middle + 20, a], "in", {packets: text(middle + 30, at - 4, "start"), bytes: text(middle + 30, at + 12, "start")}, into));
        y += TALL_GAP;
    });
    parts.height = y - 16;
    parts.nodes.push(s("text", {x: middle - 20, y: 13, class: "way out", "text-anchor": "end"}, "out ↓"), s("text", {x: middle + 20, y: 13, class: "way in"}, "↑ in"));
    return parts;
}

/** The picture in a container. draw(device, live) as often as one likes. */
export function pathPicture(container) {
    let drawn = null, parts = null, width = 0, last = null;
    const picture = s("svg", {class: "path", role: "img"});
    container.append(picture);

    /** By stage, the reasons under which something was ever dropped. */
    function lossesOf(live, stages) {
        const found = new Map();
        for (const [reason, total] of Object.entries(live ? live.drops : {})) {
            if (!total)
                continue;
            const place = placeOf(reason, stages);
            found.set(place, [...(found.get(place) || []), reason]);
        }
        return found;
    }

    function shape(stages, losses) {
        parts = (width >= WIDE ? drawWide : drawTall)(width, stages, losses);
        setAttribute(picture, "viewBox", `0 0 ${width} ${parts.height}`);
        setAttribute(picture, "width", String(width));
        setAttribute(picture, "height", String(parts.height));
        setAttribute(picture, "aria-label", `The way of the packets: ${stages.map((x) => [x.title, ...x.lines].join(" ")).join("; ")}. The figures stand in the table of counters.`);
        picture.replaceChildren(...parts.flows.map((f) => f.group), ...parts.nodes, ...parts.losses.map((l) => l.node));
    }

    function draw(device, live) {
        last = [device, live];
        if (!width)
            return;
        const stages = stagesOf(device), losses = lossesOf(live, stages), wanted = JSON.stringify([width, stages, [...losses]]);
        if (wanted !== drawn) {
            drawn = wanted;
            shape(stages, losses);
        }
        for (const arrow of parts.flows) {
            const now = flow(live, arrow.name);
            setText(arrow.packets, now ? packetRate(now.packets).replace(/ (?=[kMGTP] )/, "") : "–");
            setText(arrow.bytes, now ? byteRate(now.bytes) : "–");
            setClass(arrow.group, "on", Boolean(now) && now.packets > 0);
        }
        for (const loss of parts.losses) {
            const total = live.drops[loss.reason], now = live.dropRates[loss.reason] || 0;
            const name = loss.reason.replace("kernel.", loss.narrow ? "" : "kernel ");
            if (loss.narrow && !loss.second) {
                loss.second = [s("tspan", {}, name), s("tspan", {x: loss.text.getAttribute("x"), dy: 13}, "")];
                loss.text.replaceChildren(...loss.second);
            }
            const figure = now > 0 ? rate(now) : count(total);
            setText(loss.second ? loss.second[1] : loss.text, loss.second ? figure : `${name} ${figure}`);
            setText(loss.title, `${whole(total)} packets in all: ${meaningOf(loss.reason)}`);
            setClass(loss.node, "on", now > 0);
        }
    }

    const watcher = new ResizeObserver(([entry]) => {
        const now = Math.floor(entry.contentRect.width);
        if (now && now !== width) {
            width = now;
            if (last)
                draw(...last);
        }
    });
    watcher.observe(container);
    return {draw, end: () => watcher.disconnect()};
}
