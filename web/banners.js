// SPDX-License-Identifier: Apache-2.0
// What stands above every page: a lost connection, a change that waits for its confirmation, a long one that goes on.

import {call} from "./api.js";
import {h, note, setAttribute, setText} from "./dom.js";
import {clock, duration} from "./format.js";
import {listen, loadPending, mayChange, state, tryNow} from "./store.js";

function connectionBanner() {
    const text = h("p", {});
    const box = h("section", {class: "banner bad", role: "alert", hidden: true}, text,
        h("button", {type: "button", class: "small", onclick: tryNow}, "Try now"));
    const draw = () => {
        const dot = document.getElementById("connection"), lost = Boolean(state.session) && state.connection === "lost";
        if (dot) {
            dot.className = `live ${state.connection}`;
            setText(dot, {live: "Live", lost: "Lost", connecting: "Connecting"}[state.connection]);
        }
        box.hidden = !lost;
        if (lost)
            setText(text, `The connection to the daemon is lost. This is the state of ${state.lastSeen ? clock(state.lastSeen) : "before"}; trying again.`);
    };
    return [box, draw];
}

function pendingBanner() {
    const left = h("strong", {class: "figure"}), text = h("span", {}), meter = h("progress", {max: 1, "aria-label": "Time left to confirm"});
    const act = async (path, said) => {
        try {
            await call("POST", path);
            note(said, "good");
        } catch (problem) {
            note(problem.message, "bad");
        }
        loadPending().catch(() => {});
    };
    const buttons = h("span", {class: "actions"},
        h("button", {type: "button", class: "primary", onclick: () => act("/v1/config/confirm", "The change is confirmed.")}, "Confirm"),
        h("button", {type: "button", onclick: () => act("/v1/config/revert", "The change is taken back.")}, "Revert now"));
    const box = h("section", {class: "banner warn", "aria-label": "A change waits for its confirmation", hidden: true},
        h("p", {role: "status"}, text), h("p", {}, "Reverts by itself in ", left), meter, buttons);
    let timer = 0;
    const tick = () => {
        const pending = state.pending, seconds = pending ? Math.max(0, Math.ceil((pending.until - performance.now()) / 1000)) : 0;
        setText(left, duration(seconds));
        if (pending)
            meter.value = Math.min(1, seconds / pending.total);
    };
    const draw = () => {
        const pending = state.session && state.pending;
        box.hidden = !pending;
        clearInterval(timer);
        if (!pending)
            return;
        setText(text, `${pending.operation || "A change"} by ${pending.actor} waits for its confirmation.`);
        buttons.hidden = !mayChange();
        tick();
        timer = setInterval(tick, 250);
    };
    return [box, draw];
}

function progressBanner() {
    const text = h("p", {role: "status"}), bar = h("progress", {"aria-label": "Progress of the change"});
    const box = h("section", {class: "banner", hidden: true}, text, bar);
    const draw = () => {
        const progress = state.progress;
        box.hidden = !progress;
        if (!progress)
            return;
        setText(text, `${progress.operation}: ${progress.finished ? "done" : `${progress.done} of ${progress.total} steps`}`);
        bar.max = progress.total || 1;
        bar.value = progress.finished ? bar.max : progress.done;
        setAttribute(bar, "data-finished", String(progress.finished));
    };
    return [box, draw];
}

export function startBanners(place) {
    const [lost, drawLost] = connectionBanner(), [pending, drawPending] = pendingBanner(), [progress, drawProgress] = progressBanner();
    place.append(lost, pending, progress);
    listen((what) => {
        if (what.has("connection") || what.has("pending"))
            drawLost();
        if (what.has("pending"))
            drawPending();
        if (what.has("progress"))
            drawProgress();
    });
}
