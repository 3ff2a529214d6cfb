// SPDX-License-Identifier: Apache-2.0
// Elements, made without any markup in text: what comes from outside is only ever text.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === null || value === undefined || value === false)
            continue;
        if (name.startsWith("on"))
            node.addEventListener(name.slice(2), value);
        else if (name === "value" || name === "checked" || name === "disabled" || name === "open")
            node[name] = value;
        else
            node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
}

/** h("a", {href: "#/devices", onclick: f}, "text", child, [children]) */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Sets the text where it is another one: a text that stays costs no layout. */
export function setText(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}

export function setClass(node, name, on) {
    if (node.classList.contains(name) !== on)
        node.classList.toggle(name, on);
}

export function setAttribute(node, name, value) {
    if (node.getAttribute(name) !== value)
        node.setAttribute(name, value);
}

let serial = 0;
export const uniqueId = (prefix) => `${prefix}-${++serial}`;

/** A short message that says what was done, read out by screen readers. */
export function note(text, kind = "") {
    const item = h("p", {class: `note ${kind}`}, text);
    document.getElementById("notes").append(item);
    setTimeout(() => item.remove(), 6000);
}

/** A button that copies a text, and says so. */
export function copyButton(text) {
    const button = h("button", {type: "button", class: "small"}, "Copy");
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(text());
            setText(button, "Copied");
        } catch {
            setText(button, "Select it and press Ctrl-C");
        }
        setTimeout(() => setText(button, "Copy"), 2000);
    });
    return button;
}

/** Tabs: [[title, element], …]. Arrow keys go from one to the next. */
export function tabs(label, pages) {
    const buttons = [], list = h("div", {class: "tabs", role: "tablist", "aria-label": label}), whole = h("div", {}, list);
    const show = (at, focus) => pages.forEach(([, page], i) => {
        page.hidden = i !== at;
        buttons[i].setAttribute("aria-selected", String(i === at));
        buttons[i].tabIndex = i === at ? 0 : -1;
        if (i === at && focus)
            buttons[i].focus();
    });
    pages.forEach(([title, page], i) => {
        const id = uniqueId("tab");
        buttons.push(h("button", {type: "button", role: "tab", id, "aria-controls": `${id}-page`, onclick: () => show(i), onkeydown: (e) => {
            const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
            if (step)
                show((i + step + pages.length) % pages.length, true);
        }}, title));
        fill(page, {role: "tabpanel", id: `${id}-page`, "aria-labelledby": id}, []);
        list.append(buttons[i]);
        whole.append(page);
    });
    show(0);
    return whole;
}

/** A dialog over the page. The promise is kept with what close() is given. */
export function dialog(title, make) {
    return new Promise((resolve) => {
        const id = uniqueId("dialog"), box = h("dialog", {"aria-labelledby": id});
        let result = null;
        const close = (value) => {
            result = value;
            box.close();
        };
        box.addEventListener("close", () => {
            box.remove();
            resolve(result);
        });
        box.append(h("h2", {id}, title), make(close));
        document.body.append(box);
        box.showModal();
    });
}
