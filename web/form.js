// SPDX-License-Identifier: Apache-2.0
// Making, changing and deleting a device. The daemon judges, also while one types: each fault that it finds stands beside
// the field to which its pointer leads. Nothing is done before the plan was shown.
//
// The document is what is edited; a field that this page does not know stays in it as it was.

import {bare, call, devicePath, Problem} from "./api.js";
import {dialog, h, note, setText, tabs, uniqueId} from "./dom.js";
import {loadDevice, loadPending, mayChange, state} from "./store.js";

const DISTURBS = {none: "No packet is lost", flap: "Packets may be lost for a moment", recreate: "The device goes and comes"};
const CHECK_MS = 400;

/** A number where it is one; else the text, of which the daemon says what is wrong with it. */
const number = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);
const lines = (text) => text.split("\n").map((l) => l.trim()).filter(Boolean);

// ---- fields ---------------------------------------------------------------------------------------------------------

/** One control with its label, its hint and its faults. `pointer`: where it stands in the document. */
function field(pointer, label, control, hint) {
    const id = uniqueId("field"), fault = h("p", {class: "fault", id: `${id}-fault`});
    control.id = id;
    control.setAttribute("aria-describedby", `${id}-fault${hint ? ` ${id}-hint` : ""}`);
    const node = h("div", {class: "field"}, h("label", {for: id}, label), control, hint ? h("p", {class: "hint", id: `${id}-hint`}, hint) : null, fault);
    const self = {pointer, label, control, node, touched: false, show(texts) {
        setText(fault, texts.join("\n"));
        if (texts.length)
            control.setAttribute("aria-invalid", "true");
        else
            control.removeAttribute("aria-invalid");
    }};
    control.addEventListener("change", () => {
        self.touched = true;
    });
    return self;
}

const text = (value, more) => h("input", {type: "text", value: value === null || value === undefined ? "" : String(value), autocomplete: "off", spellcheck: "false", autocapitalize: "none", ...more});
const area = (value, more) => h("textarea", {value, rows: 3, spellcheck: "false", autocapitalize: "none", ...more});

function select(value, options) {
    const list = h("select", {}, options.map(([v, title]) => h("option", {value: v}, title)));
    list.value = value;
    return list;
}

function checkbox(pointer, label, on, hint) {
    const box = h("input", {type: "checkbox", checked: on}), made = field(pointer, label, box, hint);
    made.node.classList.add("check");
    return made;
}

// ---- the parts of the form ------------------------------------------------------------------------------------------

function routeRows(document, changed) {
    const place = h("div", {class: "routes"}), rows = [];
    const add = (route) => {
        const at = () => `/routes/${rows.indexOf(row)}`;
        const fields = [field("", "To", text(route.to, {placeholder: "10.9.0.0/16"})), field("", "Via", text(route.via, {placeholder: "on the link"})),
            field("", "Metric", text(route.metric, {inputmode: "numeric", placeholder: "0"}))];
        const row = {route, fields, node: h("div", {class: "route", role: "group", "aria-label": "Route"}, fields.map((f) => f.node),
            h("button", {type: "button", class: "small", "aria-label": "Take this route away", onclick: () => {
                rows.splice(rows.indexOf(row), 1);
                row.node.remove();
                more.focus();
                changed();
            }}, "Remove"))};
        fields.forEach((f, i) => Object.defineProperty(f, "pointer", {get: () => `${at()}/${["to", "via", "metric"][i]}`}));
        rows.push(row);
        place.insertBefore(row.node, more);
        return row;
    };
    const more = h("button", {type: "button", class: "small", onclick: () => add({}).fields[0].control.focus()}, "Add a route");
    place.append(more);
    document.routes.forEach(add);
    return {node: place, fields: () => rows.flatMap((r) => r.fields), read: () => rows.map(({route, fields: [to, via, metric]}) => {
        const made = {...route, to: to.control.value.trim()};
        const set = (key, value, convert) => {
            if (value)
                made[key] = convert(value);
            else
                delete made[key];
        };
        set("via", via.control.value.trim(), String);
        set("metric", metric.control.value.trim(), number);
        return made;
    })};
}

function workerPart(document, changed) {
    const before = document.worker || {}, udp = before.type === "udp" ? before : {};
    const type = field("/worker/type", "Worker", select(before.type || "", [["udp", "udp: forwards over UDP to a peer"], ["echo", "echo: answers every ping"], ["monitor", "monitor: counts and drops"], ["", "none"]]));
    const local = field("/worker/local", "Local address and port", text(udp.local, {placeholder: "10.32.0.11:5000"}), "Where this end listens.");
    const remote = field("/worker/remote", "Peer's address and port", text(udp.remote, {placeholder: "10.33.0.1:5000"}), "Its worker must name this end as its peer.");
    const header = field("/worker/header", "Header", select(udp.header || "none", [["none", "none: the bare packet"], ["gue", "gue: as Linux's fou speaks it"]]));
    const rate = field("/worker/log_rate", "Log lines a second", text(before.log_rate ?? 10, {inputmode: "numeric"}));
    const parts = {udp: [local, remote, header], monitor: [rate]}, all = [local, remote, header, rate];
    const show = () => all.forEach((f) => {
        f.node.hidden = !(parts[type.control.value] || []).includes(f);
    });
    type.control.addEventListener("change", () => {
        show();
        changed();
    });
    show();
    const read = () => {
        const chosen = type.control.value, kept = before.type === chosen ? before : {};
        if (!chosen)
            return null;
        if (chosen === "monitor")
            return {...kept, type: chosen, log_rate: number(rate.control.value.trim())};
        if (chosen === "echo")
            return {...kept, type: chosen};
        const made = {...kept, type: chosen, local: local.control.value.trim(), remote: remote.control.value.trim()};
        if (header.control.value !== "none" || "header" in kept)
            made.header = header.control.value;
        return made;
    };
    return {nodes: [type.node, ...all.map((f) => f.node)], fields: () => [type, ...(parts[type.control.value] || [])], read};
}

/** All controls for a document. read() gives the document as they say it. */
function controls(document, isNew, changed) {
    const name = field("/name", "Name", text(document.name, {disabled: !isNew, placeholder: "tun0"}), isNew ? "1 to 15 characters; %d at its end becomes a number that is free." : null);
    const kind = field("/kind", "Kind", select(document.kind, [["tun", "tun: IP packets"], ["tap", "tap: Ethernet frames"]]));
    const addresses = field("/addresses", "Addresses", area(document.addresses.join("\n"), {placeholder: "192.168.3.11/24\nfd00:3::11/64"}), "One on each line.");
    const labels = field("/labels", "Labels", area(Object.entries(document.labels).map(([k, v]) => `${k}=${v}`).join("\n"), {placeholder: "site=berlin"}), "key=value, one on each line.");
    const up = checkbox("/up", "Up", document.up);
    const mtu = field("/mtu", "MTU", text(document.mtu, {inputmode: "numeric", placeholder: "what fits"}), "Empty: what fits 1500 bytes on the wire.");
    const drift = field("/drift", "Where the kernel differs later", select(document.drift, [["repair", "put it right"], ["report", "only tell"]]));
    const plain = {queues: ["Queues", "1"], txqueuelen: ["Queue length", "1000"], mac: ["MAC (tap)", ""], owner: ["Owner (uid)", ""], group: ["Group (gid)", ""], netns: ["Network namespace", ""], master: ["Bridge (tap)", ""]};
    const more = Object.entries(plain).map(([key, [label, placeholder]]) => [key, field(`/${key}`, label, text(document[key], {placeholder}))]);
    const routes = routeRows(document, changed), worker = workerPart(document, changed);

    const node = h("div", {class: "form-grid"},
        h("fieldset", {class: "card"}, h("legend", {}, "Device"), name.node, kind.node, addresses.node, up.node),
        h("fieldset", {class: "card"}, h("legend", {}, "Worker"), worker.nodes),
        h("fieldset", {class: "card wide"}, h("legend", {}, "Routes into the device"), routes.node),
        h("fieldset", {class: "card"}, h("legend", {}, "More"), labels.node, mtu.node, drift.node),
        h("fieldset", {class: "card"}, h("legend", {}, "Seldom needed"), h("div", {class: "pairs"}, more.map(([, f]) => f.node))));
    const read = () => {
        const made = {...document, name: name.control.value.trim(), kind: kind.control.value, up: up.control.checked, addresses: lines(addresses.control.value),
            routes: routes.read(), worker: worker.read(), drift: drift.control.value, labels: {}};
        for (const line of lines(labels.control.value)) {
            const [key, ...value] = line.split("=");
            made.labels[key.trim()] = value.join("=").trim();
        }
        for (const [key, f] of [["mtu", mtu], ...more]) {
            const value = f.control.value.trim();
            if (!value)
                delete made[key];
            else
                made[key] = ["mac", "netns", "master"].includes(key) ? value : number(value);
        }
        return made;
    };
    return {node, read, fields: () => [name, kind, addresses, labels, up, mtu, drift, ...more.map(([, f]) => f), ...worker.fields(), ...routes.fields()]};
}

// ---- faults ---------------------------------------------------------------------------------------------------------

/** The field that a pointer leads to, or the nearest above it. */
function fieldOf(fields, pointer) {
    let best = null;
    for (const f of fields)
        if ((pointer === f.pointer || pointer.startsWith(`${f.pointer}/`)) && (!best || f.pointer.length > best.pointer.length))
            best = f;
    return best;
}

/** Of a list: which line. */
function sentence(found, error) {
    const rest = found ? error.pointer.slice(found.pointer.length + 1) : "";
    return /^\d+$/.test(rest) ? `line ${Number(rest) + 1}: ${error.detail}` : rest ? `${rest}: ${error.detail}` : error.detail;
}

/** Shows the faults beside their fields: all, or only of fields that were touched. Returns those that have no field. */
function showFaults(fields, problem, onlyTouched) {
    const texts = new Map(), others = [], errors = problem ? [...problem.errors] : [];
    if (problem && !errors.length)
        errors.push({pointer: problem.code === "already_exists" || problem.code === "foreign_device" ? "/name" : "", detail: problem.message});
    for (const error of errors) {
        const found = fieldOf(fields, error.pointer);
        if (found)
            texts.set(found, [...(texts.get(found) || []), sentence(found, error)]);
        else
            others.push(`${error.pointer ? `${error.pointer}: ` : ""}${error.detail}${problem.errno ? ` (${problem.operation} ${problem.errno})` : ""}`);
    }
    for (const f of fields)
        f.show(onlyTouched && !f.touched ? [] : texts.get(f) || []);
    return {others, found: [...texts.keys()]};
}

// ---- the plan -------------------------------------------------------------------------------------------------------

function detailOf(step) {
    if (step.address)
        return step.address;
    if (step.route)
        return `${step.route.to}${step.route.via ? ` via ${step.route.via}` : ""}`;
    if (step.link)
        return Object.entries(step.link).map(([k, v]) => `${k} ${v}`).join(", ");
    if (step.create)
        return `${step.create.kind}, ${step.create.queues === 1 ? "1 queue" : `${step.create.queues} queues`}`;
    return step.worker ? step.worker.type : "";
}

/** What a dry run answered. */
function planNode(plan) {
    return h("div", {class: "plan"},
        h("p", {class: `disturbs ${plan.disturbs}`}, h("strong", {}, plan.changed ? `${DISTURBS[plan.disturbs]}.` : "Nothing would change.")),
        plan.steps.length ? h("ol", {class: "steps", "aria-label": "Steps"}, plan.steps.slice(0, 300).map((step) => h("li", {}, h("code", {}, step.operation), h("span", {}, ` ${step.device} ${detailOf(step)}`),
            step.disturbs === "none" ? null : h("span", {class: `disturbs ${step.disturbs}`}, step.disturbs)))) : h("p", {class: "hint"}, "The kernel needs no step for it."),
        plan.differences.length ? h("details", {}, h("summary", {}, "What would differ"), h("pre", {tabindex: "0", "aria-label": "What would differ"}, JSON.stringify(plan.differences, null, 2))) : null);
}

/** Shows the plan; where it is agreed to, carries it out. `send(query)` makes the call. Returns what it answered, or null. */
function planDialog(title, verb, plan, send) {
    return dialog(title, (close) => {
        const confirm = h("input", {type: "checkbox", id: uniqueId("confirm")}), seconds = h("input", {type: "text", inputmode: "numeric", value: "60", class: "short", "aria-label": "Seconds to confirm"});
        const fault = h("p", {class: "fault", role: "alert"}), apply = h("button", {type: "button", class: verb === "Delete" ? "danger" : "primary", disabled: !plan.changed}, verb);
        const back = h("button", {type: "button", onclick: () => close(null)}, "Back");
        apply.addEventListener("click", async () => {
            apply.disabled = back.disabled = true;
            setText(fault, "");
            setText(apply, "Working…");
            try {
                close(await send(confirm.checked ? `?confirm_s=${encodeURIComponent(seconds.value.trim())}` : ""));
                if (confirm.checked)
                    loadPending().catch(() => {});
            } catch (problem) {
                setText(fault, `${problem.message}${problem.errno ? ` (${problem.operation} ${problem.errno})` : ""}`);
                setText(apply, verb);
                apply.disabled = back.disabled = false;
                if (problem instanceof Problem && problem.errors.length)
                    close({problem});
            }
        });
        // a token for some devices cannot ask for it
        const option = state.session.selector ? null : h("p", {class: "confirm"}, confirm, h("label", {for: confirm.id}, "Revert by itself unless confirmed within"), seconds, "s");
        return h("div", {}, planNode(plan), option, fault, h("div", {class: "actions"}, apply, back));
    });
}

// ---- making and changing --------------------------------------------------------------------------------------------

function editor(main, document, isNew, target) {
    const json = area("", {rows: 24, class: "code", "aria-label": "The document as JSON"}), jsonPage = h("div", {}, json), formPage = h("div", {});
    const summary = h("div", {class: "fault summary", role: "alert", tabindex: "-1"}), submit = h("button", {class: "primary"}, "Review the change");
    let form = null, timer = 0, turn = 0, inJson = false;

    const build = (from) => {
        form = controls({addresses: [], routes: [], labels: {}, worker: null, up: true, drift: "repair", kind: "tun", ...from}, isNew, later);
        formPage.replaceChildren(form.node);
    };
    const read = () => (inJson ? JSON.parse(json.value) : form.read());
    /** Judges what was typed so far, without a word about what was not touched yet. */
    function later() {
        clearTimeout(timer);
        timer = setTimeout(async () => {
            const mine = ++turn;
            let problem = null;
            try {
                await target.send(read(), "?dry_run=true");
            } catch (e) {
                problem = e instanceof Problem && e.status ? e : null;
            }
            if (mine === turn && !inJson)
                showFaults(form.fields(), problem, true);
        }, CHECK_MS);
    }
    formPage.addEventListener("change", later);

    function refuse(problem) {
        if (!place.isConnected) {
            note(problem.message, "bad");
            return;
        }
        const {others, found} = inJson ? {others: problem.errors.length ? problem.errors.map((e) => `${e.pointer}: ${e.detail}`) : [problem.message], found: []} : showFaults(form.fields(), problem, false);
        const counted = found.length ? [h("p", {}, found.length === 1 ? "One field needs another value:" : `${found.length} fields need another value:`),
            h("ul", {}, found.map((f) => h("li", {}, h("button", {type: "button", class: "link", onclick: () => f.control.focus()}, f.label))))] : [];
        summary.replaceChildren(...counted, ...others.map((o) => h("p", {}, o)));
        if (problem.status === 412)
            summary.append(h("p", {}, "Somebody changed the device meanwhile. ", h("button", {type: "button", class: "link", onclick: () => location.reload()}, "Read it again")));
        if (found.length)
            found[0].control.focus();
        else
            summary.focus();
    }

    /** Whoever went elsewhere meanwhile stays there. */
    function leave(url) {
        if (place.isConnected)
            location.hash = url;
    }

    async function review(e) {
        e.preventDefault();
        clearTimeout(timer);
        turn++;
        summary.replaceChildren();
        let wanted;
        try {
            wanted = read();
        } catch (error) {
            refuse(new Problem(400, {detail: `This is not JSON: ${error.message}`}));
            return;
        }
        submit.disabled = true;
        try {
            const {json: plan} = await target.send(wanted, "?dry_run=true");
            if (!inJson)
                showFaults(form.fields(), null, false);
            const done = await planDialog(isNew ? `New device ${wanted.name}` : `Change ${wanted.name}`, isNew ? "Create" : "Apply", plan, (query) => target.send(wanted, query));
            if (done && done.problem)
                refuse(done.problem);
            else if (done)
                leave(target.done(done.json));
        } catch (problem) {
            refuse(problem);
        } finally {
            submit.disabled = false;
        }
    }

    build(document);
    const both = tabs("How to edit", [["Form", formPage], ["JSON", jsonPage]]);
    new MutationObserver(() => {
        if (inJson === !jsonPage.hidden)
            return;
        inJson = !jsonPage.hidden;
        if (inJson) {
            json.value = JSON.stringify(form.read(), null, 2);
            return;
        }
        try {
            build(JSON.parse(json.value));
        } catch {
            note("The JSON could not be read; the form is as it was.", "bad");
        }
    }).observe(jsonPage, {attributes: true, attributeFilter: ["hidden"]});
    const place = h("form", {novalidate: true, onsubmit: review, "aria-label": isNew ? "New device" : "Change the device"}, both, summary,
        h("div", {class: "actions sticky"}, submit, h("a", {class: "button", href: target.back}, "Cancel")));
    main.append(place);
    const first = form.fields().find((f) => !f.control.disabled);
    setTimeout(() => first.control.focus({preventScroll: true}), 0);
}

function refused(main) {
    main.append(h("h1", {}, "Read only"), h("p", {}, "Who is signed in here may look, and not change."), h("a", {class: "button", href: "#/devices"}, "All devices"));
}

export function createView(main) {
    if (!mayChange()) {
        refused(main);
        return;
    }
    main.append(h("div", {class: "head"}, h("h1", {}, "New device")));
    editor(main, {name: "", kind: "tun", worker: {type: "udp"}}, true, {
        back: "#/devices",
        send: (document, query) => call("POST", `/v1/devices${query}`, document),
        done: (device) => {
            note(`${device.name} is there.`, "good");
            state.devices.set(device.name, device);
            return `#/devices/${encodeURIComponent(device.name)}`;
        },
    });
}

export function changeView(main, name) {
    if (!mayChange()) {
        refused(main);
        return;
    }
    const url = `#/devices/${encodeURIComponent(name)}`;
    const body = h("div", {}); // of this view, which may be left before the device has come
    main.append(h("nav", {class: "crumbs", "aria-label": "Where this is"}, h("a", {href: "#/devices"}, "Devices"), " / ", h("a", {href: url}, name), " / "),
        h("div", {class: "head"}, h("h1", {}, `Change ${name}`)), body);
    loadDevice(name).then(({document, etag}) => editor(body, bare(document), false, {
        back: url,
        send: (wanted, query) => call("PUT", `${devicePath(name)}${query}`, wanted, {"If-Match": etag}),
        done: (device) => {
            note(`${name} is changed.`, "good");
            state.devices.set(name, device);
            return url;
        },
    }), (problem) => body.append(h("p", {class: "fault"}, problem.message)));
}

export async function deleteDevice(name) {
    const here = location.hash;
    try {
        const {json: plan} = await call("DELETE", `${devicePath(name)}?dry_run=true`);
        const done = await planDialog(`Delete ${name}?`, "Delete", plan, (query) => call("DELETE", `${devicePath(name)}${query}`));
        if (done && !done.problem) {
            note(`${name} is deleted.`, "good");
            if (location.hash === here)
                location.hash = "#/devices";
        }
    } catch (problem) {
        note(problem.message, "bad");
    }
}
