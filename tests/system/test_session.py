# SPDX-License-Identifier: Apache-2.0
"""A browser's session: the cookie by which it is known, from signing in to the end; and the files of the dashboard."""

import datetime
import itertools
import re

import pytest
from lib import api
from lib.build import TREE
from lib.calls import tcp
from lib.command import run
from lib.waiting import until

SESSION = "/v1/session"
sources = (f"127.1.{a}.{b}" for a in range(1, 250) for b in range(1, 250))
numbers = itertools.count()


@pytest.fixture(scope="module")
def host(module_net):
    host = module_net.host("a", listen=["127.0.0.1:8080"])
    host.device("tun0", kind="tun", labels={"site": "berlin"})
    host.device("tun1", kind="tun", labels={"site": "far"})
    return host


def token(host, **fields):
    """The name and the secret of a new token."""
    made = host.api("POST", "/v1/tokens", {"name": f"s{next(numbers)}", "role": "reader", **fields}).expect(201).json
    return made["name"], made["token"]


def call(host, method, path, body=None, source="127.0.0.1", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request(tcp(host, source), method, path, body, {"Host": "localhost:8080", **headers})


def sign_in(host, secret, **headers):
    answer = call(host, "POST", SESSION, {"token": secret}, **headers).expect(200)
    return answer, answer.headers["set-cookie"].partition(";")[0]


def test_cookie_is_a_bearer_token(host):
    name, secret = token(host, role="operator", selector="site=berlin")
    answer, cookie = sign_in(host, secret)
    assert answer.json == {"name": name, "role": "operator", "selector": "site=berlin"}
    assert answer.headers["set-cookie"] == f"tunwright-8080={secret}; HttpOnly; SameSite=Strict; Path=/"
    assert call(host, "GET", SESSION, Cookie=cookie).expect(200).json == answer.json
    listed = call(host, "GET", "/v1/devices", Cookie=f"theme=dark; {cookie}; x=y").expect(200).json["items"]
    assert [d["name"] for d in listed] == ["tun0"]
    call(host, "PATCH", "/v1/devices/tun0", {"mtu": 1400}, Cookie=cookie).expect(200)
    assert host.get("/v1/audit?limit=1000")["items"][-1]["actor"] == f"token:{name}"
    # the field Authorization counts more, also where it is wrong
    call(host, "GET", SESSION, source=next(sources), Cookie=cookie, Authorization="Bearer x").problem(401, "unauthenticated")
    host.api("DELETE", f"/v1/tokens/{name}").expect(204)
    call(host, "GET", SESSION, source=next(sources), Cookie=cookie).problem(401, "unauthenticated")


def test_stream_ends_with_the_token(host):
    name, secret = token(host)
    _, cookie = sign_in(host, secret)
    stream = api.Stream(tcp(host), "/v1/watch", {"Host": "localhost:8080", "Cookie": cookie})
    assert stream.status == 200
    stream.next_of("counters")
    host.api("DELETE", f"/v1/tokens/{name}").expect(204)
    with pytest.raises((AssertionError, OSError)):
        while True:
            stream.next()


def test_each_port_has_a_cookie_of_its_own(host):
    """For a browser sends both to both."""
    _, secret = token(host)
    for said, cookie in (("localhost", "tunwright"), ("127.0.0.1:8080", "tunwright-8080"), ("[::1]", "tunwright"),
                         ("[::1]:9", "tunwright-9")):
        answer, sent = sign_in(host, secret, Host=said)
        assert sent == f"{cookie}={secret}"
        call(host, "GET", SESSION, Host=said, Cookie=sent).expect(200)
    for other in (f"tunwright-8081={secret}", f"tunwright={secret}", f"xtunwright-8080={secret}", "tunwright-8080", "tunwright-8080="):
        call(host, "GET", SESSION, source=next(sources), Cookie=other).problem(401, "unauthenticated")


def test_sign_out(host):
    _, secret = token(host)
    _, cookie = sign_in(host, secret)
    answer = call(host, "DELETE", SESSION, Cookie=cookie).expect(204)
    assert answer.headers["set-cookie"] == "tunwright-8080=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"
    call(host, "GET", SESSION, Cookie=cookie).expect(200)  # the token itself is as good as before
    call(host, "DELETE", SESSION, source=next(sources)).expect(204)


@pytest.mark.parametrize("body,pointer,code", [
    ({}, "/token", "missing_field"), ({"token": 1}, "/token", "wrong_type"), ({"token": "ab"}, "/token", "invalid_value"),
    ({"token": "g" * 64}, "/token", "invalid_value"), ({"token": "0" * 64, "role": "admin"}, "/role", "unknown_field"),
    ([], "", "wrong_type")])
def test_400(host, body, pointer, code):
    call(host, "POST", SESSION, body).problem(400, "validation_failed", pointer, code)


def test_a_wrong_token_is_a_failure_and_failures_are_limited(host):
    source = next(sources)
    call(host, "POST", SESSION, {"token": "0" * 64}, source=source).problem(401, "unauthenticated")
    until(lambda: call(host, "POST", SESSION, {"token": "1" * 64}, source=source).status == 429, 20, "a refusal", interval=0)
    answer = call(host, "POST", SESSION, {"token": "1" * 64}, source=source)
    if answer.status == 429:
        assert int(answer.headers["retry-after"]) > 0
    call(host, "GET", "/", source=source).expect(200)  # the page says why
    call(host, "GET", "/assets/style.css", source=source).expect(200)


def test_asking_who_one_is_guesses_nothing(host):
    source = next(sources)
    for _ in range(30):
        call(host, "GET", SESSION, source=source).problem(401, "unauthenticated")


def test_expired_token(host):
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    _, secret = token(host, expires=soon)
    _, cookie = sign_in(host, secret)
    until(lambda: call(host, "GET", SESSION, source=next(sources), Cookie=cookie).status == 401, 10, "the end of the token")
    call(host, "POST", SESSION, {"token": secret}, source=next(sources)).problem(401, "unauthenticated")


def test_page_of_another_site(host):
    _, secret = token(host)
    _, cookie = sign_in(host, secret)
    for headers in ({"Origin": "http://localhost:9999"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "cross-site"}):
        call(host, "GET", "/v1/devices", Cookie=cookie, **headers).problem(403, "forbidden")
        call(host, "POST", SESSION, {"token": secret}, **headers).problem(403, "forbidden")
    call(host, "GET", "/v1/devices", Cookie=cookie, Origin="http://localhost:8080", Sec_Fetch_Site="same-origin").expect(200)


def test_two_cookie_fields_are_refused(host):
    connection = tcp(host)
    connection.putrequest("GET", SESSION)
    for value in ("a=b", "c=d"):
        connection.putheader("Cookie", value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400
    connection.close()


def test_unix_socket_needs_no_cookie(host):
    assert host.get(SESSION) == {"name": None, "role": "admin", "selector": None}
    answer = host.api("POST", SESSION, {"token": "0" * 64}).expect(200)
    assert answer.json["role"] == "admin" and "set-cookie" not in answer.headers


def test_secret_is_in_no_log(host):
    _, secret = token(host)
    _, cookie = sign_in(host, secret)
    call(host, "GET", "/v1/devices", Cookie=cookie).expect(200)
    assert not any(secret in log.read_text(errors="replace") for log in host.logs())


# ---- the dashboard's files --------------------------------------------------------------------------------------------

def test_page_and_its_files(host):
    """Without a browser: every file that one names is there, nothing is inline, and nothing is from elsewhere."""
    page = call(host, "GET", "/").expect(200)
    text = page.body.decode()
    assert page.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; font-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    assert page.headers["referrer-policy"] == "no-referrer" and page.headers["cache-control"] == "no-cache"
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|https?://", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    wanted, seen, size = {m[1] for m in re.finditer(r'(?:src|href)="(/assets/[^"]+)"', text)}, set(), len(page.body)
    while wanted - seen:
        path = (wanted - seen).pop()
        seen.add(path)
        answer = call(host, "GET", path).expect(200)
        size += len(answer.body)
        if path.endswith(".js") and "chart" not in path:
            script = answer.body.decode()
            wanted |= {f"/assets/{m[1]}" for m in re.finditer(r'(?:from |import\()"\./([^"]+)"', script)}
            wanted |= {m[1] for m in re.finditer(r'"(/assets/[^"]+)"', script)}
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage\.\w+\([^)]*token", script)
    assert {f"/assets/{f.name}" for f in (TREE / "web").iterdir() if f.suffix in (".css", ".js", ".svg")} <= seen
    assert size < 300_000, f"the dashboard's files have {size} bytes"


def test_asset_is_asked_for_once(host):
    """And what it is kept with is brought up to date by the 304."""
    for path in ("/", "/assets/style.css"):
        first = call(host, "GET", path).expect(200)
        again = call(host, "GET", path, If_None_Match=first.headers["etag"]).expect(304)
        assert set(first.headers.items()) - set(again.headers.items()) <= {
            (name, first.headers[name]) for name in ("content-type", "content-length", "date")}
    call(host, "GET", "/assets/colour.css").problem(404, "not_found")
    for path in ("/assets/..%2fstyle.css", "/assets/..", "/assets/%2fstyle.css"):
        call(host, "GET", path).problem(404, "not_found")


def test_tag_of_an_asset_is_of_its_policy_too(tmp_path):
    script = TREE / "cmake" / "embed_assets.py"
    other = tmp_path / "other.py"
    other.write_text(script.read_text().replace("img-src 'self'", "img-src 'none'"))
    made = []
    for embed in (script, other, script):
        run("/usr/bin/python3", embed, tmp_path / "assets.c", TREE / "web" / "icon.svg")
        made.append(re.search(r'"image/svg\+xml", ("\S+"),', (tmp_path / "assets.c").read_text())[1])
    assert made[0] != made[1] and made[0] == made[2]
