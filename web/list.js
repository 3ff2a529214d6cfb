// SPDX-License-Identifier: Apache-2.0
// The devices: a row each, made once and written to only where something is different. Of
// hundreds, only those in sight are written to.

import {h, s, setAttribute, setClass, setText} from "./dom.js";
import {byteRate, rate} from "./format.js";
import {listen, mayChange, orderNames, POINTS, state} from "./store.js";

export const STATES = ["ready", "pending", "degraded", "conflict", "failed"];
const WIDTH = 120, HEIGHT = 28;

/** A state, told by colour, form and word. */
export function stateMark() {
    const word = h("span", {}), mark = h("span", {class: "state"}, h("i", {"aria-hidden": "true"}), word);
    return [mark, (name) => {
        setAttribute(mark, "data-state", name);
        setText(word, name);
    }];
}

// ---- a row ----------------------------------------------------------------------------------------------------------

function linePath(values, at, top) {
    let path = "";
    for (let i = 0; i < POINTS; i++) {
        const value = values[(at + 1 + i) % POINTS], x = i * WIDTH / (POINTS - 1), y = HEIGHT - 1.5 - value / top * (HEIGHT - 4);
        path += `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    }
    return path;
}

function makeRow(name) {
    const [mark, setState] = stateMark(), cell = (kind, title, ...c) => h("td", {role: "cell", class: kind, "data-title": title}, ...c);
    const below = h("span", {class: "sub"}), labels = cell("labels", "Labels");
    const out = s("path", {class: "line out"}), into = s("path", {class: "line in"});
    const outRate = cell("num out", "Out", "–"), inRate = cell("num in", "In", "–"), lost = cell("num drops", "Drops", "–");
    const row = h("tr", {role: "row"},
        cell("mark", "State", mark),
        h("th", {role: "rowheader", scope: "row", class: "name"}, h("a", {href: `#/devices/${encodeURIComponent(name)}`}, name), below),
        labels, cell("spark", "Last minute", s("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none"}, into, out)),
        outRate, inRate, lost);
    let shownLabels = null;
    return {
        row,
        document(device) {
            setState(device.status.state);
            const worker = device.worker;
            setText(below, [device.kind, worker ? worker.type : "no worker", worker && worker.remote ? `to ${worker.remote}` : device.addresses[0]].filter(Boolean).join(" · "));
            setAttribute(below, "title", device.status.reason ? device.status.reason.detail : "");
            const text = JSON.stringify(device.labels);
            if (text !== shownLabels) {
                shownLabels = text;
                labels.replaceChildren(...Object.entries(device.labels).map(([k, v]) => h("span", {class: "label"}, `${k}=${v}`)));
            }
        },
        counters(live) {
            setText(outRate, byteRate(live.outBytes));
            setText(inRate, byteRate(live.inBytes));
            setText(lost, live.rates ? rate(live.lost) : "–");
            setClass(lost, "some", live.lost > 0);
            let top = 1;
            for (let i = 0; i < POINTS; i++)
                top = Math.max(top, live.out[i], live.in[i]);
            setAttribute(out, "d", linePath(live.out, live.at, top));
            setAttribute(into, "d", linePath(live.in, live.at, top));
        },
    };
}

// ---- the filter -----------------------------------------------------------------------------------------------------

/** "site=berlin, tier" or a part of either. */
function labelsMatch(labels, wanted) {
    const all = Object.entries(labels).map(([k, v]) => `${k}=${v}`.toLowerCase());
    return wanted.toLowerCase().split(",").map((w) => w.trim()).filter(Boolean).every((w) => all.some((l) => l.includes(w)));
}

const matches = (device, filter) => (!filter.name || device.name.toLowerCase().includes(filter.name.toLowerCase())) &&
    (!filter.label || labelsMatch(device.labels, filter.label)) && (!filter.state || device.status.state === filter.state);

/** The address keeps the filter, so that it can be sent to somebody, and Back leads to it. */
function keep(filter) {
    const query = new URLSearchParams(Object.entries(filter).filter(([, v]) => v));
    history.replaceState(null, "", `#/devices${query.size ? `?${query}` : ""}`);
}

// ---- the page -------------------------------------------------------------------------------------------------------

const ORDERS = {name: (d) => d.name, state: (d) => STATES.length - STATES.indexOf(d.status.state), out: (d) => (state.live.get(d.name) || {}).outBytes || 0,
    in: (d) => (state.live.get(d.name) || {}).inBytes || 0, drops: (d) => (state.live.get(d.name) || {}).lost || 0};

export function listView(main, _, query) {
    const filter = {name: query.get("name") || "", label: query.get("label") || "", state: query.get("state") || "", sort: query.get("sort") || ""};
    const rows = new Map(), ofNode = new WeakMap(), body = h("tbody", {role: "rowgroup"});
    const shown = h("p", {class: "hint", role: "status", id: "shown"}), empty = h("div", {class: "empty", hidden: true});
    const totals = {out: h("dd", {class: "out"}, "–"), in: h("dd", {class: "in"}, "–"), drops: h("dd", {}, "–")};
    let resort = 0;

    const input = (name, label, placeholder, list) => h("div", {class: "field"}, h("label", {for: `filter-${name}`}, label),
        h("input", {id: `filter-${name}`, type: "search", value: filter[name], placeholder, list, autocomplete: "off", spellcheck: "false", oninput: (e) => {
            filter[name] = e.target.value.trim();
            keep(filter);
            arrange();
        }}));
    const states = ["", ...STATES].map((name) => {
        const count = h("span", {class: "count"});
        const button = h("button", {type: "button", class: "chip", "aria-pressed": "false", "data-state": name, onclick: () => {
            filter.state = name;
            keep(filter);
            arrange();
        }}, name || "all", count);
        return {name, button, count};
    });
    const labelList = h("datalist", {id: "known-labels"});
    const heads = [["state", "State"], ["name", "Device"], [null, "Labels"], [null, "Last minute"], ["out", "Out"], ["in", "In"], ["drops", "Drops"]].map(([sort, title]) =>
        h("th", {role: "columnheader", scope: "col"}, sort ? h("button", {type: "button", class: "sort", "data-sort": sort, onclick: () => {
            filter.sort = filter.sort === sort || sort === "name" ? "" : sort;
            keep(filter);
            arrange();
        }}, title) : title));

    main.append(h("div", {class: "head"}, h("h1", {}, "Devices"),
        h("dl", {class: "totals"}, h("div", {}, h("dt", {}, "Out"), totals.out), h("div", {}, h("dt", {}, "In"), totals.in), h("div", {}, h("dt", {}, "Drops"), totals.drops)),
        mayChange() ? h("a", {class: "button primary", href: "#/new"}, "New device") : null),
    h("div", {class: "filter", role: "search", "aria-label": "Filter the devices"}, input("name", "Name", "press / to filter"), input("label", "Label", "site=berlin", "known-labels"), labelList,
        h("div", {class: "chips", role: "group", "aria-label": "State"}, states.map((x) => x.button))),
    shown, h("table", {role: "table", class: "devices", "aria-label": "Devices"}, h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, heads)), body), empty);

    // what is out of sight is not written to
    const watcher = new IntersectionObserver((entries) => {
        for (const entry of entries) {
            const [name, row] = ofNode.get(entry.target), live = state.live.get(name);
            row.inSight = entry.isIntersecting;
            if (row.inSight && live)
                row.counters(live);
        }
    }, {rootMargin: "150px"});

    /** Which rows there are, and their order. */
    function arrange() {
        const all = [...state.devices.values()], found = all.filter((d) => matches(d, filter));
        const by = ORDERS[filter.sort] || ORDERS.name, falling = Boolean(ORDERS[filter.sort]);
        found.sort((a, b) => {
            const x = by(a), y = by(b);
            return (falling ? y - x : 0) || orderNames(a.name, b.name);
        });
        for (const [name, row] of rows)
            if (!state.devices.has(name)) {
                watcher.unobserve(row.row);
                row.row.remove();
                rows.delete(name);
            }
        const wanted = found.map((d) => {
            if (!rows.has(d.name)) {
                const made = makeRow(d.name);
                rows.set(d.name, made);
                ofNode.set(made.row, [d.name, made]);
                watcher.observe(made.row);
            }
            rows.get(d.name).document(d);
            return rows.get(d.name).row;
        });
        if (wanted.length !== body.children.length || wanted.some((row, i) => body.children[i] !== row))
            moveTo(wanted);
        const label = filter.sort || "name";
        for (const head of heads) {
            const button = head.querySelector("button");
            if (button)
                setAttribute(head, "aria-sort", button.dataset.sort !== label ? "none" : falling ? "descending" : "ascending");
        }
        for (const {name, button, count} of states) {
            const n = name ? all.filter((d) => d.status.state === name).length : all.length;
            setText(count, String(n));
            setAttribute(button, "aria-pressed", String(filter.state === name));
            button.hidden = Boolean(name) && n === 0 && filter.state !== name;
        }
        setText(shown, !state.loaded ? (state.loadFault ? state.loadFault.message : "Loading…") : found.length === all.length ? "" : `${found.length} of ${all.length} devices`);
        const none = state.loaded && !found.length;
        empty.hidden = !none;
        if (none)
            empty.replaceChildren(h("p", {}, all.length ? "No device fits the filter." : "There is no device yet."),
                all.length || !mayChange() ? "" : h("a", {class: "button primary", href: "#/new"}, "Make the first one"));
        const known = [...new Set(all.flatMap((d) => Object.entries(d.labels).map(([k, v]) => `${k}=${v}`)))].sort().slice(0, 100);
        if (known.length !== labelList.children.length || known.some((l, i) => labelList.children[i].value !== l))
            labelList.replaceChildren(...known.map((l) => h("option", {value: l})));
    }

    /** Who has the focus keeps it. */
    function moveTo(wanted) {
        const focused = body.contains(document.activeElement) ? document.activeElement : null;
        body.replaceChildren(...wanted);
        if (focused && focused.isConnected)
            focused.focus({preventScroll: true});
    }

    function count() {
        let out = 0, into = 0, lost = 0;
        for (const live of state.live.values()) {
            out += live.outBytes || 0;
            into += live.inBytes || 0;
            lost += live.lost || 0;
        }
        setText(totals.out, byteRate(out));
        setText(totals.in, byteRate(into));
        setText(totals.drops, rate(lost));
        for (const [name, row] of rows) {
            const live = state.live.get(name);
            if (live && row.inSight)
                row.counters(live);
        }
        if (filter.sort && filter.sort !== "state" && Date.now() - resort > 4000) {
            resort = Date.now(); // rows that change places each second cannot be read
            arrange();
        }
    }

    arrange();
    count();
    const stop = listen((what) => {
        if (what.has("devices"))
            arrange();
        if (what.has("counters"))
            count();
    });
    return () => {
        stop();
        watcher.disconnect();
    };
}
