# SPDX-License-Identifier: Apache-2.0
"""The Debian 12 of the emulated machine: a directory, made once and kept.

It is made by debootstrap and apt from the mirrors that this machine's apt uses, with the packages that README.md tells people to
install, under a name that is a hash of this file and of those packages: whatever changes there makes it anew. A directory that
bears that name is whole, as it gets the name at the very end. Nothing is written to it later: builds happen in a read-only view
of it, and disks are made from it by mke2fs -d."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
RELEASE = "bookworm"
HOST = "tunwright-vm"
BOOT = ["linux-image-cloud-amd64", "initramfs-tools", "systemd", "systemd-sysv", "udev", "dbus", "kmod"]
TEST = ["python3-pytest", "python3-jsonschema", "iproute2", "iputils-ping", "ethtool", "tcpdump", "curl", "jq", "iperf3",
        "wireguard-tools", "procps", "util-linux"]
FILES = {
    "etc/hostname": HOST + "\n",
    "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {HOST}\n",
    "etc/resolv.conf": "",
    "etc/fstab": "/dev/vda / ext4 defaults 0 0\n/dev/vdb /src ext4 defaults 0 0\n",
    "etc/systemd/journald.conf.d/vm.conf": "[Journal]\nStorage=volatile\nForwardToConsole=yes\nMaxLevelConsole=warning\n",
    "etc/systemd/system/tests.service": """[Unit]
Description=The tests
After=multi-user.target systemd-udev-settle.service
RequiresMountsFor=/src
ConditionKernelCommandLine=tests.stage

[Service]
ExecStart=/src/tree/tests/vm/guest/start
StandardInput=null
KillMode=mixed

[Install]
WantedBy=multi-user.target
""",
}
DISABLED = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
            "fstrim.timer", "man-db.timer", "getty@tty1.service"]


class Impossible(Exception):
    """Why it cannot work on this machine at all."""


def cache():
    path = pathlib.Path(os.environ.get("TUNWRIGHT_TEST_CACHE") or "/var/cache/tunwright-tests")
    path.mkdir(parents=True, exist_ok=True)
    return path


def call(*args, timeout, log=None, **options):
    """Runs a program whose output is of interest only when it fails."""
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=timeout, **options)
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-25:])
        raise SystemExit(f"{end}\ntests/vm/run: this failed, with exit status {done.returncode}: {' '.join(map(str, args))[:200]}")
    return done.stdout


def readme_packages():
    """What README.md says it takes to build."""
    command = re.search(r"apt install --no-install-recommends ((?:.*\\\n)*.*)", (TREE / "README.md").read_text())
    return command[1].replace("\\\n", " ").split()


# ---- where packages come from ------------------------------------------------------------------------------------------

def sources():
    """(address, suite) of each of Debian's own archives that apt is told to use here, as they are called for RELEASE."""
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    found = []
    for attempt in range(2):
        for line in call("apt-get", "indextargets", "--format", form, "Created-By: Packages", timeout=60).splitlines():
            origin, address, suite, component = line.split("|")
            entry = address, RELEASE + suite[len(suite.partition("-")[0]):]
            if origin == "Debian" and component == "main" and entry not in found and "backports" not in suite:
                found.append(entry)
        if found:
            break
        call("apt-get", "-qq", "update", timeout=300)  # no lists are here yet
    if not found:
        raise Impossible("apt has no archive of Debian's among its sources")
    return sorted(found, key=lambda entry: len(entry[1]))  # the release itself comes first


def apt_settings():
    """How apt reaches its archives here: proxies, retries, what it is to believe of dates."""
    said = call("apt-config", "dump", "--no-empty", "--format", '%f "%v";%n', "Acquire", timeout=60)
    wanted = ("Acquire::http", "Acquire::Check-", "Acquire::Retries", "Acquire::Force")
    return "".join(line + "\n" for line in said.splitlines() if line.startswith(wanted))


def environment():
    """For debootstrap, which knows nothing of apt's settings, and for apt."""
    made = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    for scheme in "http", "https":
        proxy = call("apt-config", "shell", "P", f"Acquire::{scheme}::Proxy", timeout=60).strip().removeprefix("P=").strip("'")
        if proxy and proxy != "DIRECT":
            made[f"{scheme}_proxy"] = proxy
    made.update({k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy")})
    return made


# ---- making it ---------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def entered(root, read_only=False, binds=()):
    """`root` as a chroot with /dev, /proc and /run, and `binds` ((from, to) each); unmounted at the end."""
    mounted = []

    def mount(*args, on):
        call("mount", *args, on, timeout=30)
        mounted.append(on)

    try:
        mount("--bind", root, on=root)
        if read_only:
            call("mount", "-o", "remount,ro,bind", root, timeout=30)
        mount("--rbind", "/dev", on=root / "dev")
        mount("-t", "proc", "proc", on=root / "proc")
        mount("-t", "tmpfs", "tmpfs", on=root / "run")
        mount("-t", "tmpfs", "tmpfs", on=root / "tmp")
        for source, target in binds:
            mount("--bind", source, on=root / target)
        yield
    finally:
        for path in reversed(mounted):
            call("umount", "--recursive", "--lazy", path, timeout=30)


def make(root, packages, say):
    """Debian into the directory `root`; `packages` keeps what was downloaded."""
    archives, env = sources(), environment()
    mirror = archives[0][0]
    started = time.monotonic()
    call("debootstrap", "--variant=minbase", f"--cache-dir={packages}", f"--include={','.join(['ca-certificates', *BOOT])}", RELEASE,
         root, mirror, timeout=900, env=env)
    say(f"debootstrap is done, in {time.monotonic() - started:.0f} s")
    (root / "etc/apt/sources.list").write_text("".join(f"deb {address} {suite} main\n" for address, suite in archives))
    (root / "etc/apt/apt.conf.d/50host").write_text(apt_settings())
    (root / "etc/dpkg/dpkg.cfg.d/vm").write_text("force-unsafe-io\n")
    for name in "resolv.conf", "hosts":
        shutil.copyfile(f"/etc/{name}", root / "etc" / name)
    authorities = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():
        shutil.copyfile(authorities, root / str(authorities)[1:])
    apt = ["chroot", root, "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    started = time.monotonic()
    with entered(root, binds=[(packages, "var/cache/apt/archives")]):
        call(*apt, "update", timeout=300, env=env)
        call(*apt, "install", "-y", "--no-install-recommends", *readme_packages(), *TEST, timeout=900, env=env)
    say(f"packages are installed, in {time.monotonic() - started:.0f} s")
    shutil.rmtree(root / "var/lib/apt/lists")
    shutil.rmtree(root / "var/cache/apt/archives")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # may be a link to this machine's
        path.write_text(text)
    (root / "etc/machine-id").write_text("")
    (root / "src").mkdir()
    call("chroot", root, "systemctl", "mask", *DISABLED, timeout=60)
    call("chroot", root, "systemctl", "enable", "tests.service", timeout=60)
    call("chroot", root, "passwd", "-d", "root", timeout=60)


@contextlib.contextmanager
def work_directory():
    """A directory in the cache for one run. Those of runs that were killed are removed: nobody holds their lock."""
    with open(cache() / "lock-of-runs", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in cache().glob("run-*"):
            with contextlib.suppress(OSError), open(other / "lock") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other)
        work = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=cache()))
        held = open(work / "lock", "w")
        fcntl.flock(held, fcntl.LOCK_EX)
    with held:
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def debian(say):
    """The directory of the Debian, made where it is missing; nobody removes it meanwhile."""
    recipe = pathlib.Path(__file__).read_bytes() + " ".join(readme_packages()).encode()
    root = cache() / f"debian-{hashlib.sha256(recipe).hexdigest()[:16]}"
    with open(cache() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not root.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not root.exists():  # another run may have made it meanwhile
                make_whole(root, say)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield root


def make_whole(root, say):
    for stale in [*cache().glob("debian-*"), *cache().glob("half-made-*")]:
        shutil.rmtree(stale)
    if shutil.disk_usage(cache()).free < 5 << 30:
        raise Impossible(f"less than 5 GB are free in {cache()}")
    say(f"making Debian 12 in {cache()}, once: this takes a few minutes")
    packages = cache() / "packages"
    packages.mkdir(exist_ok=True)
    half_made = pathlib.Path(tempfile.mkdtemp(prefix="half-made-", dir=cache()))
    half_made.chmod(0o755)
    started = time.monotonic()
    make(half_made, packages, say)
    half_made.rename(root)
    say(f"it is made, in {time.monotonic() - started:.0f} s")


# ---- using it ----------------------------------------------------------------------------------------------------------

def disk(directory, path, megabytes):
    """An ext4 file system with what is in `directory`."""
    # without a journal and without checksums, which an emulated processor would spend its time on
    call("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-d", directory, path, f"{megabytes}M", timeout=300)


def inside(root, project, *command, timeout):
    """Runs a command in a read-only view of the Debian, with `project` as /src; returns what it printed."""
    with entered(root, read_only=True, binds=[(project, "src")]):
        return call("chroot", root, *command, timeout=timeout, env=environment())


def build(root, project):
    """`project`/tree into `project`/build, by the Debian's own compiler and with its own libraries."""
    inside(root, project, "cmake", "-S", "/src/tree", "-B", "/src/build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", timeout=120)
    inside(root, project, "ninja", "-C", "/src/build", timeout=900)
