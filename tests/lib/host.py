# SPDX-License-Identifier: Apache-2.0
"""A host: tunwright-netd and tunwrightd in a namespace, with directories of their own."""

import contextlib
import os
import select
import shutil
import signal
import socket

from lib import api
from lib import build as build_module
from lib.network import process_is_alive, process_uid
from lib.waiting import until

USER = 64180
WORKER_USER = 64181


class Program:
    """One daemon: its command, its process, its log (which goes on over restarts)."""

    def __init__(self, name, namespace, command, environment, log):
        self.name, self.namespace, self.log = name, namespace, log
        self.command, self.environment = [str(c) for c in command], environment
        self.process = None
        log.touch()

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def start(self):
        assert self.process is None
        with open(self.log, "ab") as log:
            # nsenter becomes the program: the pid is the program's
            self.process = self.namespace.popen(*self.command, stdout=log, stderr=log, env=self.environment,
                                                start_new_session=True)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def check_alive(self):
        if not self.alive():
            raise AssertionError(f"{self.name} ended by itself: {self.ending()}\n{tail(self.log)}")
        return True

    def ending(self):
        return "never started" if not self.process else f"exit status {self.process.poll()}"

    def kill9(self):
        self.check_alive()
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def terminate(self, timeout=20):
        """SIGTERM; returns what is wrong with how it ended."""
        if self.process is None:
            return []
        process, self.process = self.process, None
        if process.poll() is not None:
            return [f"{self.name} had ended by itself, with exit status {process.returncode}"]
        process.terminate()
        if not ended(process.pid, timeout):
            process.kill()
            process.wait(10)
            return [f"{self.name} did not end within {timeout} s of SIGTERM"]
        status = process.wait()
        return [] if status == 0 else [f"{self.name} ended with exit status {status} on SIGTERM"]


def ended(pid, timeout):
    """Whether our child ends within `timeout` seconds; at once when it does, where Popen.wait asks now and then."""
    pidfd = os.pidfd_open(pid)
    try:
        return bool(select.select([pidfd], [], [], timeout)[0])
    finally:
        os.close(pidfd)


class Host:
    """`build`: asan or release. `worker_dir`: where netd finds its workers, instead of the build's. `listen`: TCP addresses
    for the API. `arguments`: more of tunwrightd's. `start=False` leaves starting to the test."""

    def __init__(self, network, name, namespace, build="asan", worker_dir=None, listen=(), arguments=(), start=True,
                 log_level="debug"):
        self.network, self.name, self.namespace = network, name, namespace
        self.directory = network.base / name
        self.directory.mkdir(mode=0o755)
        self.run_dir, self.state_dir = self.directory / "run", self.directory / "state"
        self.conf_dir = self.directory / "conf.d"  # not the machine's; there is none until a test makes it
        self.socket = self.run_dir / "api.sock"
        if len(str(self.run_dir / "workers" / ("u" * 36 + ".sock"))) > 107:
            raise AssertionError(f"{self.run_dir} is too long for a Unix socket's address")
        programs = network.installs[build]
        self.worker_dir = worker_dir or programs
        environment = {"PATH": os.environ["PATH"], **build_module.sanitizer_environment(network.reports)}
        self.netd = Program("tunwright-netd", namespace, [
            programs / "tunwright-netd", "--run-dir", self.run_dir, "--worker-dir", self.worker_dir, "--user", USER,
            "--worker-user", WORKER_USER, "--log-level", log_level], environment, self.directory / "netd.log")
        self.daemon = Program("tunwrightd", namespace, [
            programs / "tunwrightd", "--run-dir", self.run_dir, "--state-dir", self.state_dir, "--user", USER,
            "--log-level", log_level, *(a for address in listen for a in ("--listen", address)), *arguments],
            environment | {"TUNWRIGHT_CONF_DIR": str(self.conf_dir)}, self.directory / "tunwrightd.log")
        if start:
            self.start()

    # ---- life

    def start(self):
        self.netd_start()
        self.daemon_start()
        self.ready()

    def netd_start(self):
        self.netd.start()
        until(lambda: self.netd.check_alive() and self.netd_listens(), 20, "netd.sock")

    def netd_listens(self):
        """A socket's name may be that of a netd that was killed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            return probe.connect_ex(str(self.run_dir / "netd.sock")) == 0

    def daemon_start(self):
        self.daemon.start()

    def ready(self, timeout=30):
        """Waits until the API answers, both daemons talk, and what is stored has been brought about."""
        def answers():
            self.daemon.check_alive()
            with contextlib.suppress(OSError):
                return self.api("GET", "/readyz").status == 200
        until(answers, timeout, lambda: f"readiness of {self.name}; /readyz: {self.attempt('/readyz')}\n{self.tails()}")

    def attempt(self, path):
        try:
            return str(self.api("GET", path))
        except OSError as error:
            return str(error)

    def restart(self):
        """Both daemons, in good order; the tunnels stay."""
        problems = self.daemon.terminate() + self.netd.terminate()
        assert not problems, problems
        self.start()

    def kill9(self, which):
        """Kills "tunwrightd", "netd" or the worker of the device that is named."""
        if which == "tunwrightd":
            self.daemon.kill9()
        elif which == "netd":
            self.netd.kill9()
        else:
            os.kill(self.worker_pid(which), signal.SIGKILL)

    def worker_pids(self):
        """Every process in our namespace that runs as the workers' user."""
        return [pid for pid in self.namespace.pids() if process_uid(pid) == WORKER_USER]

    def stop(self):
        """Ends the daemons and then the workers, gently; returns what was wrong with it."""
        problems = self.daemon.terminate() + self.netd.terminate()
        workers = self.worker_pids()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            until(lambda: not any(map(process_is_alive, workers)), 10, "an end of the workers")
        except AssertionError:
            problems.append(f"workers of {self.name} go on after SIGTERM: {list(filter(process_is_alive, workers))}")
        return problems

    def reboot(self, namespace):
        """Everything that a power cut takes away is gone, and the host comes up with only its state directory.
        `namespace` is the new one."""
        for pid in [self.daemon.pid, self.netd.pid, *self.worker_pids()]:
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for program in (self.daemon, self.netd):
            if program.process:
                program.process.wait(10)
                program.process = None
            program.namespace = namespace
        self.namespace.delete()
        self.network.namespaces.remove(self.namespace)
        shutil.rmtree(self.run_dir)
        self.namespace = namespace

    # ---- the API

    def connection(self, timeout=30):
        return api.UnixConnection(self.socket, timeout)

    def api(self, method, path, body=None, headers=None, raw=None):
        return api.request(self.connection(), method, path, body, headers, raw)

    def get(self, path):
        return self.api("GET", path).expect(200).json

    def put(self, path, body=None):
        return self.api("PUT", path, body).expect(200, 201).json

    def watch(self, query=""):
        return api.Stream(self.connection(), f"/v1/watch{query}")

    def device(self, name, **document):
        """PUTs a device document and returns what it is then."""
        return self.put(f"/v1/devices/{name}", document)

    def status(self, name):
        return self.get(f"/v1/devices/{name}")["status"]

    def counters(self, name):
        return self.get(f"/v1/devices/{name}/counters")

    def worker_pid(self, name):
        """The pid of the running worker of a device."""
        def running():
            worker = self.status(name)["worker"]
            return worker and worker["state"] == "running" and worker["pid"]
        return until(running, 10, lambda: f"a running worker of {name}; status: {self.status(name)}")

    def configuration(self):
        """All that is desired, and what the daemon says of it, without what moves by itself."""
        items = self.get("/v1/devices")["items"]
        for item in items:
            worker = item["status"]["worker"]
            if worker:
                worker.pop("report", None)
        return items

    def token(self):
        return (self.state_dir / "admin.token").read_text().strip()

    # ---- logs

    def logs(self):
        return [self.netd.log, self.daemon.log]

    def tails(self):
        return "\n".join(f"--- {log.name} of {self.name}\n{tail(log)}" for log in self.logs())


def tail(path, size=6000):
    if not path.exists():
        return "(removed already, with everything else of the session)"
    text = path.read_text(errors="replace")
    return text if len(text) <= size else "[…]" + text[-size:]
