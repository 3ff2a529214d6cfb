// SPDX-License-Identifier: Apache-2.0
// Signing in: the token goes to the daemon once and comes back as a cookie that no script can read.

import {call} from "./api.js";
import {h, setText} from "./dom.js";

export function signIn(main, done, reason) {
    const input = h("input", {type: "password", id: "token", autocomplete: "current-password", spellcheck: "false", required: true,
        "aria-describedby": "token-fault token-hint"});
    const fault = h("p", {class: "fault", id: "token-fault", role: "alert"}, reason || "");
    const button = h("button", {class: "primary"}, "Sign in");
    const form = h("form", {class: "card signin", novalidate: true, onsubmit: async (e) => {
        e.preventDefault();
        const token = input.value.trim();
        if (!token) {
            setText(fault, "Enter a token.");
            input.focus();
            return;
        }
        button.disabled = true;
        setText(fault, "");
        try {
            const {json} = await call("POST", "/v1/session", {token});
            input.value = "";
            done(json);
        } catch (problem) {
            const detail = problem.errors.length ? problem.errors[0].detail : problem.message;
            input.setAttribute("aria-invalid", "true");
            setText(fault, problem.status === 429 ? `Too many failures: wait ${problem.retryAfter} s.` : `${detail[0].toUpperCase()}${detail.slice(1)}.`);
            input.focus();
            input.select();
        } finally {
            button.disabled = false;
        }
    }},
    h("h1", {}, "Sign in"),
    h("label", {for: "token"}, "Token"), input, fault, button,
    h("p", {class: "hint", id: "token-hint"}, "The first one is on the host, for root: ",
        h("code", {}, "sudo cat /var/lib/tunwright/admin.token")));
    main.replaceChildren(form);
    input.focus();
}
