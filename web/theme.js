// SPDX-License-Identifier: Apache-2.0
// Before anything is drawn: the theme that was chosen here, if one was. (The token is never kept like this.)
(function () {
    "use strict";
    let chosen = null;
    try {
        chosen = localStorage.getItem("theme");
    } catch {
        // storage may be forbidden: then the system's theme it is
    }
    if (chosen === "light" || chosen === "dark")
        document.documentElement.dataset.theme = chosen;
})();
