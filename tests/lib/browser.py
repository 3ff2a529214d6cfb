# SPDX-License-Identifier: Apache-2.0
"""Chromium, as somebody in front of it uses it: by what is written on things. Debian's chromium, chromium-driver and
python3-selenium."""

import json
import os
import shutil
import urllib.parse

import pytest
from lib.build import TREE
from lib.waiting import until

SHOTS = TREE / "build/screenshots"
DESKTOP, PHONE = (1280, 900), (390, 844)
PATIENCE_S = 15


def need():
    """Skips, aloud, where there is no browser."""
    pytest.importorskip("selenium", reason="python3-selenium is not installed")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def quoted(text):
    """A text for XPath, which has no escapes."""
    return f'"{text}"' if '"' not in text else "concat(" + ",'\"',".join(f'"{part}"' for part in text.split('"')) + ")"


class Browser:
    """One browser, started by a thread that is in the namespace where its user sits; use it from there only."""

    def __init__(self, directory):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--lang=en",
                         "--disable-background-networking", "--disable-component-update", "--no-first-run", "--force-color-profile=srgb",
                         f"--user-data-dir={directory}"):
            options.add_argument(argument)
        options.set_capability("acceptInsecureCerts", True)  # the tests' authority is nobody's
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver"), env={**os.environ, "HOME": str(directory)}), options=options)
        self.driver.set_script_timeout(20)
        self.hosts = set()  # whom it may ask
        self.size(*DESKTOP)
        self.theme("light")

    def close(self):
        self.driver.quit()

    # ---- the window

    def size(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def theme(self, name):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})

    def shot(self, name):
        """The whole page as build/screenshots/<name>.png."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        width, height = self.js("return [innerWidth, Math.min(4000, document.documentElement.scrollHeight)]")
        before = self.js("return innerHeight")
        self.size(width, max(height, before))
        self.js("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 150))))")
        self.driver.save_screenshot(str(SHOTS / f"{name}.png"))
        self.size(width, before)

    # ---- looking

    def js(self, script, *args):
        return self.driver.execute_script(script, *args)

    def all(self, css):
        return self.driver.find_elements("css selector", css)

    def one(self, css):
        script = "return [...document.querySelectorAll(arguments[0])].find((e) => e.getClientRects().length) || null"
        return until(lambda: self.js(script, css), PATIENCE_S, lambda: f"{css} to be seen; there is:\n{self.page_text()}")

    def text(self, css):
        """Of the first that is shown: asked for in one go, for the page may be drawn anew at any moment."""
        script = "const e = [...document.querySelectorAll(arguments[0])].find((e) => e.getClientRects().length); return e ? [e.innerText ?? e.textContent] : null"
        return until(lambda: self.js(script, css), PATIENCE_S, lambda: f"{css} to be seen; there is:\n{self.page_text()}")[0]

    def page_text(self):
        return self.js("return document.body.innerText")[:3000]

    def see(self, text):
        until(lambda: text in self.js("return document.body.innerText"), PATIENCE_S, lambda: f"{text!r} to be seen; there is:\n{self.page_text()}")

    def not_see(self, text):
        until(lambda: text not in self.js("return document.body.innerText"), PATIENCE_S, lambda: f"{text!r} not to be seen any more")

    # ---- doing

    def open(self, url):
        self.hosts.add(urllib.parse.urlsplit(url).netloc)
        self.driver.get(url)

    def named(self, name, within=""):
        """The button, link or tab with that on it, or of that label."""
        q = quoted(name)
        what = "(self::button or self::a or self::summary)"
        path = f"{within}//*[{what} and (normalize-space()={q} or @aria-label={q})]"

        script = """const found = document.evaluate(arguments[0], document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
                    for (let i = 0; i < found.snapshotLength; i++) if (found.snapshotItem(i).getClientRects().length) return found.snapshotItem(i);
                    return null"""
        return until(lambda: self.js(script, path), PATIENCE_S, lambda: f"something to press with {name!r} on it; there is:\n{self.page_text()}")

    def press(self, name, within=""):
        from selenium.common.exceptions import StaleElementReferenceException

        def pressed():
            try:
                element = self.named(name, within)
                self.js("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
            except StaleElementReferenceException:
                return False  # the page was drawn anew at this moment
            return True
        until(pressed, PATIENCE_S, f"{name!r} to be pressed")

    def field(self, label):
        """The control with that label."""
        script = """for (const l of document.querySelectorAll("label"))
                        if (l.textContent.trim() === arguments[0] && l.control && l.control.getClientRects().length) return l.control;
                    return null"""
        return until(lambda: self.js(script, label), PATIENCE_S, lambda: f"a field {label!r}; there is:\n{self.page_text()}")

    def fill(self, label, text):
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import Select

        def filled():
            control = self.field(label)
            try:
                if control.tag_name == "select":
                    Select(control).select_by_value(text)
                else:
                    control.clear()
                    control.send_keys(text)
            except StaleElementReferenceException:
                return False  # the page was drawn anew at this moment
            return True
        until(filled, PATIENCE_S, f"{label!r} to be filled in")

    def fault_of(self, label):
        """What stands beside the field as its fault, as a screen reader finds it."""
        return self.js("""const c = arguments[0];
            return (c.getAttribute("aria-describedby") || "").split(" ").map((id) => document.getElementById(id))
                .filter((n) => n && n.classList.contains("fault")).map((n) => n.textContent).join("")""", self.field(label))

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains
        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def sign_in(self, url, token):
        self.open(url)
        self.fill("Token", token)
        self.press("Sign in")
        self.one("h1:not(.signin h1)")

    # ---- what went wrong behind the page

    def problems(self, allow=()):
        """Errors in the console, violations of the policy, requests to others than it was sent to. An answer of the API that is
        not 2xx is none: the page is there to say it."""
        found = []
        for entry in self.driver.get_log("browser"):
            is_answer = entry["source"] == "network" and "Failed to load resource" in entry["message"]
            if entry["level"] in ("SEVERE", "WARNING") and not is_answer and not any(a in entry["message"] for a in allow):
                found.append(f"console: {entry['level']} {entry['source']} {entry['message']}")
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            parts = urllib.parse.urlsplit(message["params"]["request"]["url"])
            if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in self.hosts:
                found.append(f"a request to another host: {parts.geturl()}")
        return found
