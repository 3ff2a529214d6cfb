# SPDX-License-Identifier: Apache-2.0
"""GET /v1/watch: nothing is told twice and nothing left out, whoever comes back and when; rates; who is shown what."""

import time

import pytest
from lib import api
from lib.waiting import until

pytestmark = pytest.mark.slow


def watch(host, query, last=None):
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    stream = api.Stream(host.connection(), f"/v1/watch?{query}", headers)
    assert stream.status == 200
    return stream


def newest(host):
    """The sequence of the newest event, by what a new stream begins with."""
    stream = watch(host, "topics=events")
    line = stream.answer.readline()
    while not line.startswith(b"id: "):
        line = stream.answer.readline()
    stream.close()
    return int(line[4:])


def sequences(stream, count):
    return [int(stream.next()["id"]) for _ in range(count)]


# ---- resuming ------------------------------------------------------------------------------------------------------------

def test_resume_has_neither_gap_nor_repeat(host):
    begin = newest(host)
    for number in range(3):
        host.device(f"tun{number}", kind="tun")
    end = newest(host)
    assert end >= begin + 3
    wanted = list(range(begin + 1, end + 1))
    by_query, by_header = watch(host, f"topics=events&after={begin}"), watch(host, "topics=events", begin)
    assert sequences(by_query, len(wanted)) == wanted
    assert sequences(by_header, len(wanted)) == wanted
    # the header wins: it is the younger of the two where a browser comes back to the address it was given
    both = watch(host, f"topics=events&after={begin}", begin + 2)
    assert sequences(both, len(wanted) - 2) == wanted[2:]
    # and all three go on with what comes now
    host.put("/v1/devices/tun0/addresses/192.168.3.11/24")
    for stream in (by_query, by_header, both):
        assert stream.next()["id"] == str(end + 1)
        stream.close()


def test_resume_again_and_again_while_things_happen(host):
    """A client that breaks off after each message has seen each event once."""
    last = begin = newest(host)
    seen = []
    for number in range(6):
        host.device("tun0", kind="tun", mtu=1300 + number)
        stream = watch(host, "topics=events", last)
        message = stream.next()
        last = int(message["id"])
        seen.append(last)
        stream.close()
    end = newest(host)
    stream = watch(host, "topics=events", last)
    seen += sequences(stream, end - last)
    stream.close()
    assert seen == list(range(begin + 1, end + 1))


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_resume_over_a_restart(host, how):
    begin = newest(host)
    host.device("tun0", kind="tun")
    before = newest(host)
    if how == "kill":
        host.kill9("tunwrightd")
        host.daemon_start()
        host.ready()
    else:
        host.restart()
    host.device("tun1", kind="tun")
    end = newest(host)
    assert end > before
    stream = watch(host, "topics=events", begin)
    messages = [stream.next() for _ in range(end - begin)]
    assert [int(m["id"]) for m in messages] == list(range(begin + 1, end + 1))
    assert ("device_created", "tun1") in [(m["event"], m["data"]["device"]) for m in messages]
    stream.close()


def test_resume_from_where_nothing_is_known_of_is_told(host):
    host.device("tun0", kind="tun")
    end = newest(host)
    stream = watch(host, "topics=events", end + 1000)
    gap = stream.next()
    assert gap["event"] == "gap" and "id" not in gap
    assert gap["data"] == {"after": end + 1000, "oldest": 1, "newest": end}
    assert sequences(stream, end) == list(range(1, end + 1))
    stream.close()


def test_no_gap_at_either_end(host):
    host.device("tun0", kind="tun")
    end = newest(host)
    assert end > 0
    stream = watch(host, "topics=events", 0)
    assert sequences(stream, end) == list(range(1, end + 1))
    stream.close()
    stream = watch(host, "topics=events", end)
    host.device("tun1", kind="tun")
    assert stream.next()["id"] == str(end + 1)
    stream.close()


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "18446744073709551616", "01", " 1 1"])
def test_bad_last_event_id(host, text):
    host.api("GET", "/v1/watch", headers={"Last-Event-ID": text}).problem(400, "invalid_request")


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=1.5", "after=18446744073709551616", "selector==", "selector=a%2C",
                                   "device=lo", "topics=", "topics=events,", "interval_ms=0"])
def test_bad_query(host, query):
    host.api("GET", f"/v1/watch?{query}").problem(400, "invalid_query")


# ---- who is shown what ---------------------------------------------------------------------------------------------------

def test_selector(host):
    host.device("tun0", kind="tun", labels={"site": "berlin"})
    host.device("tun1", kind="tun", labels={"site": "oslo"})
    stream = watch(host, "selector=site%3Dberlin&interval_ms=100")
    assert [i["device"] for i in stream.next_of("counters")["data"]["items"]] == ["tun0"]
    host.put("/v1/devices/tun1/addresses/192.168.4.11/24")
    host.put("/v1/devices/tun0/addresses/192.168.3.11/24")
    assert stream.next_of("device_changed")["data"]["device"] == "tun0"
    # the labels decide as they are now
    host.device("tun1", kind="tun", labels={"site": "berlin"})
    def both():
        return [i["device"] for i in stream.next_of("counters")["data"]["items"]] == ["tun0", "tun1"]
    until(both, 10, "tun1 in the stream")
    stream.close()


def test_device_that_is_not_there_yet(host):
    stream = watch(host, "device=tun7&interval_ms=100")
    assert stream.next_of("counters")["data"]["items"] == []
    host.device("tun0", kind="tun")
    host.device("tun7", kind="tun")
    assert stream.next_of("device_created")["data"]["device"] == "tun7"
    until(lambda: stream.next_of("counters")["data"]["items"], 10, "its counters")
    host.api("DELETE", "/v1/devices/tun7").expect(204)
    assert stream.next_of("device_deleted")["data"]["device"] == "tun7"
    stream.close()


# ---- rates ---------------------------------------------------------------------------------------------------------------

def test_rates(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "echo"})
    host.device("tun1", kind="tun")
    stream = watch(host, "topics=counters&interval_ms=200")
    first = stream.next()["data"]["items"]
    assert [i["rates"] for i in first] == [None, None]
    ping = host.namespace.popen("ping", "-q", "-i", "0.02", "-w", "20", "192.168.3.12")
    try:
        before = {i["device"]: i for i in first}
        moved = 0
        for _ in range(60):
            items = {i["device"]: i for i in stream.next()["data"]["items"]}
            rates = items["tun0"]["rates"]
            assert 0.15 < rates["interval_s"] < 5
            # what the server says is what a client would compute from two messages
            for side, pair in (("device_in", "packets"), ("device_out", "bytes"), ("device_in", "bytes")):
                moved_by = items["tun0"]["worker"][side][pair] - before["tun0"]["worker"][side][pair]
                assert rates["worker"][side][pair] == pytest.approx(moved_by / rates["interval_s"], abs=0.01, rel=0.005)
            for key in ("rx_packets", "tx_bytes"):
                moved_by = items["tun0"]["kernel"][key] - before["tun0"]["kernel"][key]
                assert rates["kernel"][key] == pytest.approx(moved_by / rates["interval_s"], abs=0.01, rel=0.005)
            assert items["tun1"]["rates"]["worker"] is None
            assert items["tun1"]["rates"]["kernel"] == {"rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0}
            moved += rates["worker"]["device_in"]["packets"] > 10
            before = items
            if moved >= 3:
                break
        else:
            raise AssertionError(f"no rates: {items}")
    finally:
        ping.kill()
        ping.wait()
    # made anew, its counters begin at zero: no rate can be told
    host.api("DELETE", "/v1/devices/tun0").expect(204)
    host.device("tun0", kind="tun")
    def anew():
        found = {i["device"]: i for i in stream.next()["data"]["items"]}.get("tun0")
        return found and found["worker"] is None and (found["rates"] or {"kernel": {"rx_packets": 0}})["kernel"]["rx_packets"] == 0
    until(anew, 10, "the new device")
    stream.close()


def test_interval(host):
    """Messages come at the interval that was asked for, and the first at once."""
    host.device("tun0", kind="tun")
    started = time.monotonic()
    slow = watch(host, "topics=counters&interval_ms=60000")
    slow.next()
    assert time.monotonic() - started < 5
    stream = watch(host, "topics=counters&interval_ms=300")
    stream.next()
    intervals = [stream.next()["data"]["items"][0]["rates"]["interval_s"] for _ in range(6)]
    assert sorted(intervals)[3] == pytest.approx(0.3, abs=0.15)
    slow.close()
    stream.close()


@pytest.mark.slow
def test_heartbeat(host):
    """A stream with nothing to tell shows that it lives, and where it is."""
    stream = watch(host, "topics=events")
    end = newest(host)
    stream.connection.sock.settimeout(25)
    lines = [stream.answer.readline().decode().rstrip() for _ in range(6)]
    assert lines == [": watching", f"id: {end}", "", ": alive", f"id: {end}", ""]
    stream.close()


def test_streams_share_their_text(host):
    """Two streams of one filter and interval that began together are told the same, to the letter."""
    host.device("tun0", kind="tun", worker={"type": "echo"})
    streams = [watch(host, "topics=counters&interval_ms=400") for _ in range(8)]
    for stream in streams:
        stream.next()
    said = [stream.next()["data"]["items"][0]["time"] for stream in streams]
    assert len(set(said)) <= 4, said
    for stream in streams:
        stream.close()
