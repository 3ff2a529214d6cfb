// SPDX-License-Identifier: Apache-2.0
// What is known of the daemon, kept up by one stream: all pages draw from here, and nobody asks twice.
//
// The stream is opened first and the devices are read then, so that no change falls between. An event says that
// something is different, and the device is read again; counters come with their rates. Whoever draws is told once for
// each frame of the screen, however much came in between.

import {call, devicePath, get} from "./api.js";

export const POINTS = 60;                     // of a sparkline
const EVENTS_KEPT = 500, STALLED_MS = 6000, HIDDEN_MS = 10000, MANY = 8;

export const state = {
    session: null,        // {name, role, selector}
    unlocked: false,      // over a Unix socket: whether changes were allowed, for this page's life
    devices: new Map(),   // name → document
    live: new Map(),      // name → {counters, rates, kinds of drops…}
    loaded: false,
    pending: null,        // {until, actor, operation}
    progress: null,
    connection: "connecting", // connecting, live, lost
    lastSeen: 0,
    events: [],           // that came by the stream, newest first
    loadFault: null,
};

/** Whether edit controls are shown. Through a proxy before the Unix socket, whoever reaches the proxy is the proxy's user:
 *  nothing is changed there by mistake. */
export const mayChange = () => Boolean(state.session) && state.session.role !== "reader" &&
    (state.session.name !== null || state.unlocked);

// ---- listeners ------------------------------------------------------------------------------------------------------

const listeners = new Set();
/** f(what: Set of "devices", "counters", "events", "pending", "progress", "connection"). Returns how to stop. */
export function listen(f) {
    listeners.add(f);
    return () => listeners.delete(f);
}

let changed = new Set(), framed = false;
export function tell(what) {
    changed.add(what);
    if (framed)
        return;
    framed = true;
    const deliver = () => {
        framed = false;
        const now = changed;
        changed = new Set();
        for (const f of [...listeners])
            f(now);
    };
    if (document.hidden)
        setTimeout(deliver, 0); // no frames are drawn
    else
        requestAnimationFrame(deliver);
}

// ---- devices --------------------------------------------------------------------------------------------------------

export const orderNames = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

async function loadDevices() {
    const list = await get("/v1/devices");
    state.devices = new Map(list.items.map((d) => [d.name, d]));
    for (const name of state.live.keys())
        if (!state.devices.has(name))
            state.live.delete(name);
    state.loaded = true;
    tell("devices");
}

export async function loadDevice(name) {
    try {
        const {json, etag} = await call("GET", devicePath(name));
        state.devices.set(name, json);
        tell("devices");
        return {document: json, etag};
    } catch (problem) {
        if (problem.status === 404) {
            state.devices.delete(name);
            state.live.delete(name);
            tell("devices");
        }
        throw problem;
    }
}

const stale = new Set();
let staleTimer = 0;
/** Reads it again soon, together with others. */
function refresh(name) {
    stale.add(name);
    if (staleTimer)
        return;
    staleTimer = setTimeout(async () => {
        const names = [...stale];
        stale.clear();
        staleTimer = 0;
        try {
            if (names.length > MANY)
                await loadDevices();
            else
                await Promise.all(names.map((n) => loadDevice(n).catch((e) => {
                    if (e.status !== 404)
                        throw e;
                })));
        } catch {
            // the stream will end as well, and say so; what was stale is read when it is back
        }
    }, 120);
}

export async function loadPending() {
    const {pending} = await get("/v1/config/confirm");
    state.pending = pending && {until: performance.now() + pending.remaining_s * 1000, total: pending.remaining_s, ...pending};
    tell("pending");
}

// ---- counters -------------------------------------------------------------------------------------------------------

const CAUSES = ["rx_dropped", "rx_errors", "tx_dropped", "tx_errors"];

/** What is lost, by reason: worker's reasons by their names, the kernel's as "kernel.tx_dropped". */
function dropsOf(item) {
    const drops = {};
    for (const cause of CAUSES)
        drops[`kernel.${cause}`] = item.kernel ? item.kernel[cause] : 0;
    return Object.assign(drops, item.worker ? item.worker.drops : {});
}

function take(item) {
    let live = state.live.get(item.device);
    if (!live) {
        live = {out: new Float32Array(POINTS), in: new Float32Array(POINTS), at: 0, drops: {}, dropRates: {}};
        state.live.set(item.device, live);
    }
    const drops = dropsOf(item), seconds = item.rates ? item.rates.interval_s : 0;
    live.dropRates = {};
    for (const [reason, total] of Object.entries(drops))
        live.dropRates[reason] = seconds && reason in live.drops ? Math.max(0, total - live.drops[reason]) / seconds : 0;
    live.drops = drops;
    live.counters = item;
    live.rates = item.rates;
    live.time = Date.parse(item.time);
    const {kernel, worker} = item.rates || {};
    live.outBytes = worker ? worker.device_in.bytes : kernel ? kernel.tx_bytes : null;
    live.inBytes = worker ? worker.device_out.bytes : kernel ? kernel.rx_bytes : null;
    live.outPackets = worker ? worker.device_in.packets : kernel ? kernel.tx_packets : null;
    live.inPackets = worker ? worker.device_out.packets : kernel ? kernel.rx_packets : null;
    live.lost = Object.values(live.dropRates).reduce((a, b) => a + b, 0);
    live.at = (live.at + 1) % POINTS;
    live.out[live.at] = live.outBytes || 0;
    live.in[live.at] = live.inBytes || 0;
}

// ---- the stream -----------------------------------------------------------------------------------------------------

let source = null, lastEvent = null, watchdog = 0, retry = 0, retryMs = 500, progressTimer = 0;

function setConnection(connection) {
    if (state.connection === connection)
        return;
    state.connection = connection;
    tell("connection");
}

function onCounters(message) {
    state.lastSeen = Date.now();
    for (const item of JSON.parse(message.data).items)
        take(item);
    setConnection("live");
    tell("counters");
}

const KINDS = ["device_created", "device_changed", "device_deleted", "device_state", "worker_state", "confirmation_pending",
    "config_confirmed", "config_reverted", "file_applied", "file_failed", "token_created", "token_deleted"];

function onEvent(message) {
    const event = JSON.parse(message.data);
    state.lastSeen = Date.now();
    lastEvent = event.sequence;
    state.events.unshift(event);
    state.events.length = Math.min(state.events.length, EVENTS_KEPT);
    if (event.device)
        refresh(event.device);
    if (event.type === "confirmation_pending" || event.type === "config_confirmed" || event.type === "config_reverted")
        loadPending().catch(() => {});
    tell("events");
}

function onProgress(message) {
    const progress = JSON.parse(message.data);
    state.progress = progress;
    clearTimeout(progressTimer);
    progressTimer = setTimeout(() => {
        state.progress = null;
        tell("progress");
    }, progress.finished ? 1500 : 10000);
    tell("progress");
}

async function load() {
    try {
        await Promise.all([loadDevices(), loadPending()]);
        state.loadFault = null;
    } catch (problem) {
        state.loadFault = problem;
        tell("devices");
    }
}

function lost() {
    close();
    setConnection("lost");
    retry = setTimeout(open, retryMs);
    retryMs = Math.min(2 * retryMs, 5000);
}

/** A token with a selector is not told of progress, which is about all devices. */
const topics = () => (state.session && !state.session.selector ? "events,counters,progress" : "events,counters");

export function open() {
    close();
    const after = lastEvent === null ? "" : `&after=${lastEvent}`;
    source = new EventSource(`/v1/watch?topics=${topics()}&interval_ms=1000${after}`);
    source.addEventListener("open", () => {
        retryMs = 500;
        state.lastSeen = Date.now();
        setConnection("live");
        load();
    });
    // a new try is ours to make: the browser would not after a refusal
    source.addEventListener("error", async () => {
        lost();
        try {
            await call("GET", "/v1/version"); // tells whether it is the token that ended
        } catch {
            // said already
        }
    });
    source.addEventListener("counters", onCounters);
    source.addEventListener("progress", onProgress);
    source.addEventListener("gap", load);
    for (const kind of KINDS)
        source.addEventListener(kind, onEvent);
    watchdog = setInterval(() => {
        if (state.connection === "live" && Date.now() - state.lastSeen > STALLED_MS)
            lost();
    }, 1000);
}

export function close() {
    clearInterval(watchdog);
    clearTimeout(retry);
    if (source)
        source.close();
    source = null;
}

export function tryNow() {
    retryMs = 500;
    open();
}

/** At sign-out: nothing of what was seen stays. */
export function forget() {
    close();
    lastEvent = null;
    Object.assign(state, {session: null, unlocked: false, devices: new Map(), live: new Map(), loaded: false, pending: null,
        progress: null, connection: "connecting", events: [], loadFault: null});
    tell("pending");
    tell("progress");
}

// A page that nobody looks at asks for nothing: browsers have few connections for one host.
let hiddenTimer = 0;
document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (!state.session)
        return;
    if (document.hidden)
        hiddenTimer = setTimeout(close, HIDDEN_MS);
    else if (!source)
        open();
});
