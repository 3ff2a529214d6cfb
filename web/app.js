// SPDX-License-Identifier: Apache-2.0
// The page: who is signed in, which view the address names, and what stands above all of them.

import {call, get, onSignedOut} from "./api.js";
import {h, note} from "./dom.js";
import {forget, open, state, tell} from "./store.js";
import {startBanners} from "./banners.js";
import {listView} from "./list.js";
import {signIn} from "./signin.js";

const main = document.getElementById("main");
let leave = null, shown = null;

// ---- views ----------------------------------------------------------------------------------------------------------

/** "#/devices/tun0?state=ready" → [["devices", "tun0"], URLSearchParams]; whoever typed it may have mistyped it. */
function address() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?"), parts = path.split("/").filter(Boolean);
    try {
        return [parts.map(decodeURIComponent), new URLSearchParams(query || "")];
    } catch {
        return [[], new URLSearchParams()];
    }
}

/** The views that are not seen first come when they are wanted. */
async function viewOf(parts) {
    const [first, name, action] = parts;
    if (first === "new")
        return [(await import("./form.js")).createView, ""];
    if (first === "events")
        return [(await import("./events.js")).eventsView, "events"];
    if (first === "devices" && name && action === "change")
        return [(await import("./form.js")).changeView, name];
    if (first === "devices" && name)
        return [(await import("./device.js")).deviceView, name];
    return [listView, "devices"];
}

async function show() {
    if (!state.session)
        return;
    const [parts, query] = address(), key = parts.join("/");
    if (key === shown)
        return; // only the filter differs, which the view itself wrote
    shown = key;
    let view, argument;
    try {
        [view, argument] = await viewOf(parts);
    } catch {
        if (shown === key)
            shown = null; // the same link may be pressed again
        note("This page could not be loaded. Try again, or reload.", "bad");
        return;
    }
    if (shown !== key)
        return;
    if (leave)
        leave();
    main.replaceChildren();
    leave = view(main, argument, query) || null;
    drawPages(parts[0] || "devices");
    const title = main.querySelector("h1");
    document.title = title ? `${title.textContent} – Tunwright` : "Tunwright";
    scrollTo(0, 0);
    if (arrived)
        main.focus({preventScroll: true}); // a screen reader begins to read here
    arrived = true;
}
let arrived = false;

function drawPages(current) {
    const link = (name, title) => h("a", {href: `#/${name}`, "aria-current": name === current ? "page" : null}, title);
    document.getElementById("pages").replaceChildren(...(state.session ? [link("devices", "Devices"), link("events", "Events")] : []));
}

// ---- who ------------------------------------------------------------------------------------------------------------

const systemTheme = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (systemTheme.matches ? "dark" : "light")) === "dark";

function themeButton() {
    const label = () => (isDark() ? "Light theme" : "Dark theme");
    const button = h("button", {type: "button", class: "quiet icon", "aria-label": label(), title: label(), onclick: () => {
        const wanted = isDark() ? "light" : "dark", system = systemTheme.matches ? "dark" : "light";
        if (wanted === system)
            delete document.documentElement.dataset.theme;
        else
            document.documentElement.dataset.theme = wanted;
        try {
            if (wanted === system)
                localStorage.removeItem("theme");
            else
                localStorage.setItem("theme", wanted);
        } catch {
            // then it is for this page only
        }
        button.setAttribute("aria-label", label());
        button.title = label();
        tell("theme");
    }}, h("span", {class: "half", "aria-hidden": "true"}));
    return button;
}

function drawWho() {
    const who = document.getElementById("who"), session = state.session;
    if (!session) {
        who.replaceChildren(themeButton());
        return;
    }
    const items = [h("span", {class: "live", id: "connection"}),
        h("span", {class: "user", title: session.selector ? `only devices with ${session.selector}` : null},
            session.name === null ? "Unix socket" : session.name, h("span", {class: "role"}, session.role))];
    if (session.name === null && session.role !== "reader")
        items.push(h("button", {type: "button", class: "quiet", "aria-pressed": String(state.unlocked), onclick: (e) => {
            state.unlocked = !state.unlocked;
            e.currentTarget.setAttribute("aria-pressed", String(state.unlocked));
            shown = null;
            show();
        }}, "Allow changes"));
    items.push(themeButton());
    if (session.name !== null)
        items.push(h("button", {type: "button", class: "quiet", onclick: signOut}, "Sign out"));
    who.replaceChildren(...items);
}

async function signOut() {
    try {
        await call("DELETE", "/v1/session");
        end();
    } catch (problem) {
        note(problem.message, "bad");
    }
}

/** Nobody is signed in (any more). */
function end(reason) {
    forget();
    if (leave)
        leave();
    leave = shown = null;
    drawWho();
    drawPages("");
    signIn(main, begin, reason);
    document.title = "Sign in – Tunwright";
}

function begin(session) {
    state.session = session;
    drawWho();
    open();
    show();
}

async function start() {
    startBanners(document.getElementById("banners"));
    drawWho();
    addEventListener("hashchange", show);
    onSignedOut(() => state.session && end("The token is not taken any more: it has expired, or was deleted."));
    try {
        begin(await get("/v1/session"));
    } catch (problem) {
        if (problem.status === 401)
            end();
        else
            end(problem.message);
    }
}

// "/" leads to the filter, as in many tools
addEventListener("keydown", (e) => {
    const filter = document.getElementById("filter-name");
    if (e.key === "/" && filter && !e.ctrlKey && !e.metaKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
        e.preventDefault();
        filter.focus();
    }
});
start();
