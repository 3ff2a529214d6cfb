// SPDX-License-Identifier: Apache-2.0
// The log of events: the newest first, and what happens now above them.

import {get} from "./api.js";
import {h, setText} from "./dom.js";
import {moment} from "./format.js";
import {listen, state} from "./store.js";

const PAGE = 200, MOST = 2000;
const KIND = {device_state: "state", worker_state: "worker", device_created: "created", device_changed: "changed", device_deleted: "deleted",
    confirmation_pending: "waits", config_confirmed: "confirmed", config_reverted: "reverted", file_applied: "file", file_failed: "file failed",
    token_created: "token", token_deleted: "token deleted"};
const isBad = (event) => event.type === "file_failed" || ((event.type === "device_state" || event.type === "worker_state") && /^(failed|degraded|conflict|restarting)/.test(event.detail));

export function eventsView(main, _, query) {
    const items = new Map(), rows = new Map(), body = h("tbody", {role: "rowgroup"}), said = h("p", {class: "hint", role: "status"});
    const older = h("button", {type: "button", hidden: true, onclick: () => page()}, "Show older ones");
    let wanted = query.get("q") || "", oldest = null, kept = 0, ended = false;

    const filter = h("input", {id: "filter-name", type: "search", value: wanted, placeholder: "device, kind or text", autocomplete: "off", spellcheck: "false", oninput: (e) => {
        wanted = e.target.value.trim();
        history.replaceState(null, "", `#/events${wanted ? `?${new URLSearchParams({q: wanted})}` : ""}`);
        draw();
    }});
    main.append(h("div", {class: "head"}, h("h1", {}, "Events")),
        h("div", {class: "filter", role: "search", "aria-label": "Filter the events"}, h("div", {class: "field"}, h("label", {for: "filter-name"}, "Filter"), filter)), said,
        h("table", {class: "events", role: "table", "aria-label": "Events, the newest first"}, h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, ["Time", "What", "Device", "Detail"].map((t) => h("th", {scope: "col", role: "columnheader"}, t)))), body),
        h("p", {}, older));

    const makeRow = (event) => h("tr", {role: "row", class: isBad(event) ? "bad" : null},
        h("td", {role: "cell", class: "time"}, h("time", {datetime: event.time, title: event.time}, moment(event.time))),
        h("td", {role: "cell"}, h("span", {class: "kind", title: event.type}, KIND[event.type] || event.type)),
        h("td", {role: "cell"}, event.device ? h("a", {href: `#/devices/${encodeURIComponent(event.device)}`}, event.device) : "–"),
        h("td", {role: "cell", class: "detail"}, event.detail));

    /** A page that is open for days keeps the newest. */
    function forgetOld() {
        const gone = [...items.keys()].sort((a, b) => b - a).slice(MOST);
        for (const sequence of gone) {
            items.delete(sequence);
            rows.delete(sequence);
        }
    }

    function draw() {
        forgetOld();
        const needle = wanted.toLowerCase();
        const found = [...items.values()].filter((e) => !needle || [e.type, KIND[e.type], e.device, e.detail].some((t) => (t || "").toLowerCase().includes(needle)))
            .sort((a, b) => b.sequence - a.sequence);
        for (const event of found)
            if (!rows.has(event.sequence))
                rows.set(event.sequence, makeRow(event));
        const list = found.map((e) => rows.get(e.sequence));
        if (list.length !== body.children.length || list.some((row, i) => row !== body.children[i]))
            body.replaceChildren(...list);
        older.hidden = oldest === null || oldest <= kept || items.size >= MOST;
        setText(said, found.length ? (wanted ? `${found.length} of the ${items.size} that were read` : "") : items.size ? "No event fits the filter." : "Nothing has happened yet.");
    }

    async function page() {
        try {
            const ends = await get("/v1/events?limit=1");
            const to = oldest ?? ends.newest + 1, after = Math.max(0, to - 1 - PAGE);
            const list = await get(`/v1/events?after=${after}&limit=${PAGE}`);
            if (ended)
                return;
            for (const event of list.items)
                items.set(event.sequence, event);
            oldest = after + 1;
            kept = ends.oldest;
            draw();
        } catch (problem) {
            setText(said, problem.message);
        }
    }

    page();
    const stop = listen((what) => {
        if (!what.has("events"))
            return;
        for (const event of state.events)
            items.set(event.sequence, event);
        draw();
    });
    return () => {
        ended = true;
        stop();
    };
}
