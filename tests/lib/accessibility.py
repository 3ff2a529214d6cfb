# SPDX-License-Identifier: Apache-2.0
"""What a page owes to those who do not see it, or not well, or use no mouse: each function returns what is wrong (WCAG 2.1, AA)."""

SEEN = """
function seen(e) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    return box.width > 1 && box.height > 1 && style.visibility === "visible" && !e.closest("[hidden]") && e.checkVisibility();
}
function named(e) {
    const by = (e.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean).map((id) => document.getElementById(id)?.textContent || "").join(" ");
    const label = e.labels && e.labels.length ? e.labels[0].textContent : "";
    return (by || e.getAttribute("aria-label") || label || e.getAttribute("alt") || e.textContent || "").trim();
}
const told = (e) => `${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}.${e.getAttribute("class") || ""} "${(e.textContent || "").trim().slice(0, 40)}"`;
"""

STRUCTURE = SEEN + """
const wrong = [], say = (what, e) => wrong.push(`${what}: ${e ? told(e) : ""}`);
if (!document.documentElement.lang) say("no language");
if (!document.title) say("no title");
if (document.querySelectorAll("main").length !== 1) say("not one main");
if ([...document.querySelectorAll("h1")].filter(seen).length !== 1) say("not one h1");
let level = 1;
for (const e of [...document.querySelectorAll("main h1, main h2, main h3")].filter(seen)) {
    if (Number(e.tagName[1]) > level + 1) say("a heading is left out before", e);
    level = Number(e.tagName[1]);
}
for (const e of document.querySelectorAll("a[href], button, input, select, textarea, [role=tab], [role=img], progress, dialog, table, nav, section"))
    if (seen(e) && !named(e)) say("no name", e);
for (const e of document.querySelectorAll("img"))
    if (!e.hasAttribute("alt")) say("no alt", e);
for (const e of document.querySelectorAll("[tabindex]"))
    if (e.tabIndex > 0) say("a tabindex of its own", e);
for (const a of ["aria-labelledby", "aria-describedby", "aria-controls", "for", "list"])
    for (const e of document.querySelectorAll(`[${a}]`))
        for (const id of e.getAttribute(a).split(" ").filter(Boolean))
            if (!document.getElementById(id)) say(`${a} leads nowhere (${id})`, e);
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) say(`the id ${id} is there twice`);
for (const e of document.querySelectorAll("button, a.button, select, input:not([type=checkbox]):not([type=radio])")) {
    const box = e.getBoundingClientRect();
    if (seen(e) && !e.classList.contains("link") && !e.classList.contains("sort") && (box.height < 24 || box.width < 24)) say("too small to be hit", e);
}
if (document.documentElement.scrollWidth > innerWidth + 1) say(`the page is wider than the window: ${document.documentElement.scrollWidth} > ${innerWidth}`);
return wrong;
"""

CONTRAST = SEEN + """
function rgba(text) {
    const n = (text.match(/[\\d.]+/g) || []).map(Number);
    return text.startsWith("rgb") ? [n[0], n[1], n[2], n.length > 3 ? n[3] : 1] : null;
}
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
function ground(e) {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
        const style = getComputedStyle(at), paint = at.namespaceURI.endsWith("svg") ? null : rgba(style.backgroundColor);
        const box = at.tagName === "g" ? at.querySelector(":scope > rect") : null;
        const fill = box ? rgba(getComputedStyle(box).fill) : null;
        for (const c of [paint, fill])
            if (c && c[3] > 0) layers.push(c);
        if (layers.length && layers[layers.length - 1][3] === 1) break;
    }
    return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]);
}
function light(c) {
    const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]);
}
const wrong = new Set();
const check = (e, colour, least, what) => {
    const back = ground(what === "edge" ? e.parentElement : e), front = over(colour, back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) wrong.add(`${what} ${ratio.toFixed(2)} < ${least}: ${told(e)} ${colour.slice(0, 3)} on ${back.slice(0, 3).map(Math.round)}`);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let count = 0;
while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(e) || e.closest(":disabled, option, title, noscript, .skip, .hidden")) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const colour = rgba(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
    count++;
    if (!colour) { wrong.add(`a colour that is not understood: ${style.color} ${style.fill} ${told(e)}`); continue; }
    check(e, colour, size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5, "text");
}
for (const e of document.querySelectorAll("input:not([type=checkbox]):not([type=radio]), select, textarea"))
    if (seen(e) && !e.disabled) check(e, rgba(getComputedStyle(e).borderTopColor), 3, "edge");
if (!count) wrong.add("no text was found");
return [...wrong];
"""

# where the focus is, and whether it can be seen
FOCUSED = SEEN + """
const e = document.activeElement;
if (!e || e === document.body) return null;
const style = getComputedStyle(e), box = e.getBoundingClientRect();
window.__order ||= [];
const again = window.__order.includes(e), before = window.__order[window.__order.length - 1];
if (!again) window.__order.push(e);
const wrong = [];
if (!(parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none")) wrong.push(`the focus is not seen on ${told(e)}`);
if (!again && before && before.isConnected && !(before.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)) wrong.push(`the focus goes back, from ${told(before)} to ${told(e)}`);
if (box.bottom < 0 || box.top > innerHeight) wrong.push(`the focus is out of sight on ${told(e)}`);
const hit = document.elementFromPoint(Math.min(innerWidth - 1, Math.max(0, box.left + Math.min(box.width, 300) / 2)), Math.min(innerHeight - 1, Math.max(0, box.top + box.height / 2)));
if (hit && !e.contains(hit) && !hit.contains(e) && getComputedStyle(hit).position !== "static" && hit.closest(".top, .banners")) wrong.push(`${told(hit)} lies over ${told(e)}`);
return {again, wrong, what: told(e)};
"""
TABBABLE = SEEN + """
return [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter((e) => e.tabIndex >= 0 && !e.disabled && (seen(e) || e.classList.contains("skip")) && !(e.type === "radio" && !e.checked)).length;
"""


def faults(browser):
    return browser.js(STRUCTURE) + browser.js(CONTRAST)


def faults_of_focus(browser, most=120):
    """Goes once through the page with the Tab key."""
    from selenium.webdriver.common.keys import Keys
    wanted, wrong, reached = browser.js(TABBABLE), [], 0
    browser.js("window.__order = []; document.activeElement.blur(); scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    for _ in range(most):
        browser.keys(Keys.TAB)
        at = browser.js(FOCUSED)
        if at is None or at["again"]:
            break
        reached += 1
        wrong += at["wrong"]
    if reached < min(wanted, most):
        wrong.append(f"the Tab key reached {reached} of {wanted} things")
    return wrong
