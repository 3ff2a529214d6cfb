# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests, limits in time, the logs beside a failure, and the figures of tests/run's closing line."""

import os
import pathlib
import shutil
import signal
import tempfile

import pytest
from lib import build, contract
from lib.network import Network, sweep
from lib.waiting import PATIENCE

PHASE_LIMIT_S = 60


# ---- fixtures -------------------------------------------------------------------------------------------------------

class Installs(dict):
    """The programs of a build, copied once to where every user can run them: installs["asan"]."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def __missing__(self, name):
        self[name] = build.install(name, self.base / f"bin-{name}")
        return self[name]


@pytest.fixture(scope="session")
def base():
    """A short directory that unprivileged users can pass through."""
    if os.geteuid() == 0:
        sweep()
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"tw{os.getpid()}-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def installs(base):
    return Installs(base)


def network(request, base, installs):
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    made = Network(base, installs)
    request.node.network = made
    yield made
    problems = made.close()
    if problems:
        pytest.fail("after the test:\n" + "\n".join(problems), pytrace=False)


# One per test, and one per file where a file's tests may share it.
net = pytest.fixture(network, name="net")
module_net = pytest.fixture(network, name="module_net", scope="module")


@pytest.fixture
def host(net):
    """A host with a daemon pair and no cable. Files that want another one have their own."""
    return net.host("a")


@pytest.fixture(scope="module")
def still(module_net):
    """A host with a daemon pair for all those tests of a file that leave everything on it as it was."""
    return module_net.host("still")


@pytest.fixture
def pair(net):
    """Two hosts at one cable, both with a daemon pair: 10.0.0.1 and fd00:a::1, 10.0.0.2 and fd00:a::2."""
    a, b = net.namespace("a", dad=False), net.namespace("b", dad=False)
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    return net.host("a", a), net.host("b", b)


@pytest.fixture
def other_workers(net):
    """A worker directory with a program in it that is not ours: tests/system/workers/other_worker.py."""
    directory = net.base / "workers"
    directory.mkdir(mode=0o755)
    shutil.copyfile(build.TREE / "tests/system/workers/other_worker.py", directory / "tunwright-worker")
    (directory / "tunwright-worker").chmod(0o755)
    return directory


# ---- limits ---------------------------------------------------------------------------------------------------------

class Limit:
    """Breaks off what takes longer than it may, with the place where it hung."""

    def __init__(self, item):
        marker = item.get_closest_marker("limit")
        self.seconds = int((marker.args[0] if marker else PHASE_LIMIT_S) * PATIENCE)

    def __enter__(self):
        def late(*_):
            raise AssertionError(f"took longer than {self.seconds} s")
        self.before = signal.signal(signal.SIGALRM, late)
        signal.alarm(self.seconds)

    def __exit__(self, *_):
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    with Limit(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    with Limit(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    with Limit(item):
        yield


# ---- results --------------------------------------------------------------------------------------------------------

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for node in item.listchain():
            for host in getattr(getattr(node, "network", None), "hosts", []):
                report.sections.append((f"logs of {host.name}", host.tails()))


class Results:
    """Keeps the figures in a file as they grow, so that tests/run can tell them also when pytest is killed. A test counts
    once: as failed when any of its phases did."""

    def __init__(self, path):
        self.path, self.outcomes = path, {}

    def write(self, finished=False):
        found = list(self.outcomes.values())
        text = " ".join(str(found.count(o)) for o in ("passed", "failed", "skipped"))
        with open(self.path, "r+", encoding="ascii") as file:
            file.write(f"{text} {'finished' if finished else 'running'}\n")
            file.truncate()

    def pytest_sessionstart(self, session):
        # the last line is tests/run's
        session.config.pluginmanager.get_plugin("terminalreporter").summary_stats = lambda: None

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.outcomes[report.nodeid] = "failed"
        elif report.skipped:
            self.outcomes[report.nodeid] = "skipped"
        elif report.when == "call":
            self.outcomes.setdefault(report.nodeid, "passed")
        self.write()

    def pytest_collectreport(self, report):
        if report.failed:
            self.outcomes[report.nodeid] = "failed"
            self.write()

    def pytest_sessionfinish(self):
        self.write(finished=True)


def pytest_collection_modifyitems(items):
    # what asks about the whole run comes at its end
    items.sort(key=lambda item: item.path.name == "test_zz_coverage.py")


def pytest_configure(config):
    if contract.RECORD not in os.environ:
        directory = tempfile.mkdtemp(prefix=f"tw{os.getpid()}-seen-", dir="/tmp")  # sweep() knows it by its name
        os.environ[contract.RECORD] = f"{directory}/seen"
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    # SIGTERM ends the run as Ctrl-C does: with everything cleaned up
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = os.environ.get("TUNWRIGHT_TEST_RESULTS")
    if path:
        config.pluginmanager.register(Results(path))
