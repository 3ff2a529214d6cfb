// SPDX-License-Identifier: Apache-2.0
// One device: the path of its packets, the last minutes, and all that is known of it.

import {bare, curl} from "./api.js";
import {historyCharts} from "./charts.js";
import {copyButton, h, setText, tabs} from "./dom.js";
import {byteRate, moment, packetRate, rate, whole} from "./format.js";
import {stateMark} from "./list.js";
import {pathPicture} from "./path.js";
import {listen, loadDevice, mayChange, state} from "./store.js";

const POLL_MS = 5000;

const card = (title, ...content) => h("section", {class: "card", "aria-label": title}, h("h2", {}, title), ...content);

/** What stands in a definition list: those without a value are left out. */
function facts(pairs) {
    return h("dl", {class: "facts"}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
}

/** {offload: {tso: true}} as [["offload tso", "yes"]]: the worker's own words, whatever they are. */
function flattened(object, before = "") {
    return Object.entries(object || {}).flatMap(([key, value]) => {
        const name = `${before}${key.replaceAll("_", " ")}`;
        if (value && typeof value === "object" && !Array.isArray(value))
            return flattened(value, `${name} `);
        return [[name, value === true ? "yes" : value === false ? "no" : value === null ? "–" : Array.isArray(value) ? value.join(", ") : String(value)]];
    });
}

const shown = (value) => (value === null ? "nothing" : typeof value === "object" ? JSON.stringify(value) : String(value));

function deviations(device) {
    const {status} = device, found = status.deviations, reason = status.reason;
    const parts = [];
    if (reason)
        parts.push(h("p", {class: "fault"}, reason.detail, reason.errno ? ` (${reason.operation || ""} ${reason.errno})` : ""));
    if (found.length)
        parts.push(h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Where the kernel differs"}, h("table", {}, h("thead", {}, h("tr", {}, ["Field", "Wanted", "Found"].map((t) => h("th", {scope: "col"}, t)))),
            h("tbody", {}, found.map((d) => h("tr", {}, h("th", {scope: "row"}, h("code", {}, d.pointer)), h("td", {}, shown(d.wanted)), h("td", {class: "bad"}, shown(d.found))))))),
        h("p", {class: "hint"}, device.drift === "repair" ? "It is put right by itself." : "It is only told: drift is \"report\"."));
    if (!parts.length)
        parts.push(h("p", {class: "hint"}, status.state === "pending" ? "It has not been brought about yet." : "The kernel is as the document says."));
    return parts;
}

function routes(device) {
    if (!device.routes.length)
        return h("p", {class: "hint"}, "None but those that go with the addresses.");
    const odd = (r) => [r.type === "unicast" ? null : r.type, r.table === 254 ? null : `table ${r.table}`, r.source && `from ${r.source}`].filter(Boolean).join(", ");
    return h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Routes"}, h("table", {}, h("thead", {}, h("tr", {}, ["To", "Via", "Metric"].map((t) => h("th", {scope: "col"}, t)))),
        h("tbody", {}, device.routes.slice(0, 200).map((r) => h("tr", {}, h("th", {scope: "row"}, h("code", {}, r.to), odd(r) ? ` ${odd(r)}` : ""), h("td", {}, r.via || "on the link"), h("td", {}, String(r.metric)))))),
    device.routes.length > 200 ? h("p", {class: "hint"}, `and ${device.routes.length - 200} more`) : null);
}

function workerFacts(device) {
    const {worker, status} = device, seen = status.worker;
    if (!worker)
        return [h("p", {class: "hint"}, "None: what the stack sends into the device waits there.")];
    const settings = flattened(Object.fromEntries(Object.entries(worker).filter(([key, value]) => value !== null && key !== "offload")));
    const parts = [facts(settings)];
    if (seen)
        parts.push(facts([["state", seen.state], ["process", seen.pid], ["restarts", seen.restarts], ["since", seen.started && moment(seen.started)], ["said last", seen.detail]]));
    if (seen && seen.report)
        parts.push(h("h3", {}, "What it reports"), facts(flattened(seen.report)));
    return parts;
}

// ---- counters in full -----------------------------------------------------------------------------------------------

function countersTable() {
    const body = h("tbody"), rows = new Map();
    const row = (name) => {
        if (!rows.has(name)) {
            const cells = [0, 1, 2, 3].map(() => h("td", {class: "num"}, ""));
            rows.set(name, cells);
            body.append(h("tr", {}, h("th", {scope: "row"}, h("code", {}, name)), cells));
        }
        return rows.get(name);
    };
    const write = (name, ...texts) => row(name).forEach((cell, i) => setText(cell, texts[i] || ""));
    const table = h("table", {class: "counters"}, h("caption", {class: "hidden"}, "Counters"),
        h("thead", {}, h("tr", {}, ["Counter", "Packets", "Bytes", "Packets now", "Bytes now"].map((t) => h("th", {scope: "col"}, t)))), body);
    return [h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Counters"}, table), (live) => {
        const {kernel, worker} = live.counters, now = live.rates || {};
        if (kernel)
            for (const way of ["tx", "rx"])
                write(`kernel ${way}`, whole(kernel[`${way}_packets`]), whole(kernel[`${way}_bytes`]),
                    now.kernel ? packetRate(now.kernel[`${way}_packets`]) : "", now.kernel ? byteRate(now.kernel[`${way}_bytes`]) : "");
        if (worker)
            for (const pair of ["device_in", "wire_out", "wire_in", "device_out"])
                write(pair, whole(worker[pair].packets), whole(worker[pair].bytes),
                    now.worker ? packetRate(now.worker[pair].packets) : "", now.worker ? byteRate(now.worker[pair].bytes) : "");
        for (const [reason, total] of Object.entries(live.drops))
            if (total || !reason.startsWith("kernel."))
                write(`dropped: ${reason}`, whole(total), "", live.dropRates[reason] ? rate(live.dropRates[reason]) : "", "");
    }];
}

// ---- the page -------------------------------------------------------------------------------------------------------

export function deviceView(main, name) {
    const [mark, setState] = stateMark(), labels = h("p", {class: "labels"}), path = h("div", {class: "path-box"});
    const place = {device: h("div", {class: "grid"}), json: h("pre", {tabindex: "0", "aria-label": "The document as JSON"}), socket: h("pre", {tabindex: "0", "aria-label": "curl over the Unix socket"}), token: h("pre", {tabindex: "0", "aria-label": "curl with a token"})};
    const charts = h("section", {class: "card", "aria-label": "History"}), [counters, drawCounters] = countersTable();
    const gone = h("div", {class: "empty", hidden: true}), content = h("div", {});
    const url = `#/devices/${encodeURIComponent(name)}`;
    const actions = mayChange() ? h("div", {class: "actions"}, h("a", {class: "button", href: `${url}/change`}, "Change"),
        h("button", {type: "button", class: "danger", onclick: async () => (await import("./form.js")).deleteDevice(name)}, "Delete")) : null;
    const config = (pre) => h("div", {}, h("div", {class: "copy"}, copyButton(() => pre.textContent)), pre);

    content.append(h("section", {class: "card", "aria-label": "The packet's path"}, h("h2", {}, "The packet's path"), path), charts,
        place.device,
        h("section", {class: "card", "aria-label": "Counters in full"}, h("h2", {}, "Counters in full"), counters),
        h("section", {class: "card", "aria-label": "Configuration"}, h("h2", {}, "Configuration"),
            tabs("Configuration", [["JSON", config(place.json)], ["curl, Unix socket", config(place.socket)], ["curl, token", config(place.token)]])));
    main.append(h("nav", {class: "crumbs", "aria-label": "Where this is"}, h("a", {href: "#/devices"}, "Devices"), " / "),
        h("div", {class: "head"}, h("h1", {}, name), mark, labels, actions), gone, content);

    const picture = pathPicture(path), history = historyCharts(charts, name);
    let drawn = null;

    function draw() {
        const device = state.devices.get(name);
        gone.hidden = Boolean(device) || !state.loaded;
        content.hidden = !device;
        mark.hidden = !device;
        if (actions)
            actions.hidden = !device;
        if (!device) {
            gone.replaceChildren(h("p", {}, `There is no device ${name}.`), h("a", {class: "button", href: "#/devices"}, "All devices"));
            return;
        }
        const text = JSON.stringify(device);
        if (text === drawn)
            return;
        drawn = text;
        setState(device.status.state);
        labels.replaceChildren(...Object.entries(device.labels).map(([k, v]) => h("span", {class: "label"}, `${k}=${v}`)));
        const {status} = device, focused = place.device.contains(document.activeElement);
        place.device.replaceChildren(
            card("Drift and conflicts", ...deviations(device)),
            card("Worker", ...workerFacts(device)),
            card("Addresses", device.addresses.length ? h("ul", {class: "plain"}, device.addresses.map((a) => h("li", {}, h("code", {}, a)))) : h("p", {class: "hint"}, "None.")),
            card("Routes", routes(device)),
            card("In the kernel", facts([["state", status.reason ? `${status.state}: ${status.reason.code}` : status.state], ["interface index", status.ifindex],
                ["carrier", status.carrier ? "yes" : "no"], ["MTU", status.mtu], ["MAC", status.mac], ["queues", device.queues], ["queue length", device.txqueuelen],
                ["namespace", device.netns], ["bridge", device.master], ["owner", device.owner], ["group", device.group], ["drift", device.drift],
                ["generation", `${status.observed_generation} of ${status.generation}`], ["made", moment(status.created)], ["changed", moment(status.changed)], ["uuid", status.uuid]])));
        if (focused)
            main.focus({preventScroll: true});
        setText(place.json, JSON.stringify(bare(device), null, 2));
        setText(place.socket, curl(device, true));
        setText(place.token, curl(device, false));
        picture.draw(device, state.live.get(name));
    }

    function count() {
        const device = state.devices.get(name), live = state.live.get(name);
        if (!device || !live)
            return;
        picture.draw(device, live);
        history.add(live);
        drawCounters(live);
    }

    draw();
    count();
    // the worker's report comes without an event
    const poll = setInterval(() => {
        if (!document.hidden && state.connection === "live")
            loadDevice(name).catch(() => {});
    }, POLL_MS);
    let wasLive = true;
    const stop = listen((what) => {
        if (what.has("devices"))
            draw();
        if (what.has("counters"))
            count();
        if (what.has("theme"))
            history.repaint();
        if (what.has("connection")) {
            if (state.connection === "live" && !wasLive)
                history.again();
            wasLive = state.connection === "live";
        }
    });
    return () => {
        stop();
        clearInterval(poll);
        picture.end();
        history.end();
    };
}
