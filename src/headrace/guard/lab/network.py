"""Hosts on one machine: network namespaces on a bridge.

    bridge   10.<a>.<b>.1 in the machine's own namespace: Kafka, JobManager, driver, one observer
    host     10.<a>.<b>.10 + n in a namespace of its own, behind a veth pair

A host is cut off by setting its port of the bridge down, and vanishes by that and SIGKILL to all of its processes: no packet
says good-bye. Packets are dropped by chance with iptables inside the namespace. Everything is named after the process id, so that two labs do not
meet, and `close` removes it in reverse order. Needs root; `check` says what is missing before anything is made.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.core.errors import Internal, Unsupported

SEARCH_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
PROGRAMS = {"ip": "iproute2", "iptables": "iptables"}
FIRST_HOST = 10
DELAY_QUEUE = 1


def check(*, root: bool | None = None) -> None:
    """See whether namespaces can be made here.

    Raises:
        Unsupported: not root, or a program is missing; says what to do.
    """
    if not (os.geteuid() == 0 if root is None else root):
        raise Unsupported(
            "the failure lab needs root for network namespaces",
            hint="run it with sudo; `headrace chaos kill` and `freeze` on a local stack need none",
        )
    path = environment()["PATH"]
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})
    if missing:
        raise Unsupported(
            "programs of the lab are missing",
            context={"packages": " ".join(missing)},
            hint="apt-get install " + " ".join(missing),
        )


class Network:
    """A bridge with hosts."""

    def __init__(self) -> None:
        pid = os.getpid()
        self._tag = f"{pid % 46656:x}"
        self._prefix = f"10.{100 + pid // 256 % 100}.{pid % 256}"
        self._bridge = f"hlb{self._tag}"
        self._hosts: dict[str, int] = {}
        self._delays: dict[str, subprocess.Popen[str]] = {}
        self._undo: list[Callable[[], None]] = []

    @property
    def gateway(self) -> str:
        """The machine's own address on the bridge."""
        return f"{self._prefix}.1"

    def address(self, host: str) -> str:
        """The address of a host."""
        return f"{self._prefix}.{FIRST_HOST + self._hosts[host]}"

    def names(self, machine: str) -> str:
        """What a hosts file has to say: `machine` is the machine's own name on the bridge."""
        rows = [("127.0.0.1", "localhost"), (self.gateway, f"{machine} {socket.gethostname()}")]
        rows += [(self.address(host), host) for host in self._hosts]
        return "".join(f"{address} {names}\n" for address, names in rows)

    def open(self, hosts: Sequence[str]) -> None:
        """Make the bridge and the hosts; removes all again when one fails."""
        self._clear()
        try:
            command("ip", "link", "add", self._bridge, "type", "bridge")
            self._undo.append(lambda: _attempt("ip", "link", "del", self._bridge))
            command("ip", "addr", "add", f"{self.gateway}/24", "dev", self._bridge)
            command("ip", "link", "set", self._bridge, "up")
            for host in hosts:
                self._add(host)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove everything; failures of one step do not keep the others."""
        for host in list(self._delays):
            self.undelay(host)
        while self._undo:
            self._undo.pop()()

    def enter(self, host: str) -> list[str]:
        """The words before a command that is to run on a host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def pids(self, host: str) -> list[int]:
        """All processes of a host."""
        done = subprocess.run(
            ["ip", "netns", "pids", self._namespace(host)],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        return [int(word) for word in done.stdout.split()]

    def signal(self, host: str, number: signal.Signals) -> list[int]:
        """Send a signal to all processes of a host; returns whom it was sent to."""
        pids = self.pids(host)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def cut(self, host: str) -> None:
        """No packet to or from the host any more."""
        command("ip", "link", "set", self._port(host), "down")

    def heal(self, host: str) -> None:
        """Packets again, without loss."""
        command("ip", "link", "set", self._port(host), "up")

    def drop(self, host: str, share: float, *, peer: str = "", chains: Sequence[str] = ("INPUT", "OUTPUT")) -> None:
        """Drop this share of the host's packets each way (or one way), or only those to and from `peer`."""
        chance = ["-m", "statistic", "--mode", "random", "--probability", f"{share:.4f}"] if share < 1 else []
        for chain in chains:
            whom = ["-s" if chain == "INPUT" else "-d", peer] if peer else []
            command(*self.enter(host), "iptables", "-w", "-A", chain, *whom, *chance, "-j", "DROP")

    def drop_tcp(self, host: str, peer: str, *, port: int, others: bool = False) -> None:
        """Drop the host's TCP connections to a port of `peer`, or all others with it but these."""
        for chain, whom, end in (("INPUT", "-s", "--sport"), ("OUTPUT", "-d", "--dport")):
            words = [*self.enter(host), "iptables", "-w", "-A", chain, "-p", "tcp", whom, peer]
            command(*words, end, str(port), "-j", "ACCEPT" if others else "DROP")
            if others:
                command(*words, "-j", "DROP")

    def undrop(self, host: str) -> None:
        """No more dropping."""
        command(*self.enter(host), "iptables", "-w", "-F")

    def delay(self, host: str, delay_ms: float, jitter_ms: float) -> None:
        """Let each packet of the host wait so long each way, by a process of its own.

        Raises:
            Unsupported: the kernel cannot hand packets to a process; carries what it said.
        """
        words = ["--queue", str(DELAY_QUEUE), "--delay-ms", str(delay_ms), "--jitter-ms", str(jitter_ms)]
        process = subprocess.Popen(
            [*self.enter(host), sys.executable, "-m", "headrace.guard.lab.delay", *words],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        )
        self._delays[host] = process
        line = process.stdout.readline().strip() if process.stdout else ""
        if line != "ready":
            self.undelay(host)
            raise Unsupported(f"packets cannot be delayed here: {line}", context={"host": host})
        for chain in ("INPUT", "OUTPUT"):
            rule = ("-j", "NFQUEUE", "--queue-num", str(DELAY_QUEUE), "--queue-bypass")
            command(*self.enter(host), "iptables", "-w", "-A", chain, *rule)

    def undelay(self, host: str) -> None:
        """No more waiting; what waits is dropped by the kernel."""
        self.undrop(host)
        process = self._delays.pop(host, None)
        if process is not None:
            process.terminate()
            process.wait()

    def limit(self, host: str, *, kbit_per_s: int) -> None:
        """Let the host send only so much."""
        shape = ("rate", f"{kbit_per_s}kbit", "burst", "16kb", "latency", "400ms")
        command(*self.enter(host), "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *shape)

    def unlimit(self, host: str) -> None:
        """Let the host send as much as it likes."""
        command(*self.enter(host), "tc", "qdisc", "del", "dev", "eth0", "root")

    def _clear(self) -> None:
        """What a lab that was killed under the same tag has left."""
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, env=environment(), check=False)
        for name in (line.split()[0] for line in listed.stdout.splitlines() if line):
            if name.startswith(f"hl{self._tag}-"):
                _attempt("ip", "netns", "del", name)
        # The kernel takes a namespace's links away only later; till then their other ends keep their names.
        listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, env=environment(), check=False)
        for name in (line.split()[1].partition("@")[0].rstrip(":") for line in listed.stdout.splitlines() if line):
            if re.fullmatch(rf"hlv{self._tag}\d+", name):
                _attempt("ip", "link", "del", name)
        _attempt("ip", "link", "del", self._bridge)

    def _add(self, host: str) -> None:
        number = len(self._hosts)
        self._hosts[host] = number
        name, port = self._namespace(host), self._port(host)
        command("ip", "netns", "add", name)
        self._undo.append(lambda: _attempt("ip", "netns", "del", name))
        command("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._undo.append(lambda: _attempt("ip", "link", "del", port))
        command("ip", "link", "set", port, "master", self._bridge, "up")
        for words in (
            ("addr", "add", f"{self.address(host)}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", self.gateway),
        ):
            command(*self.enter(host), "ip", *words)

    def _namespace(self, host: str) -> str:
        return f"hl{self._tag}-{host}"

    def _port(self, host: str) -> str:
        return f"hlv{self._tag}{self._hosts[host]}"


def environment() -> dict[str, str]:
    """The environment with the folders in which system programs lie."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"}


def command(*words: str) -> None:
    """Run a command.

    Raises:
        Internal: it failed; carries its words.
    """
    output(*words)


def output(*words: str) -> str:
    """What a command prints.

    Raises:
        Internal: it failed; carries its words.
    """
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        raise Internal(
            f"command of the lab failed: {done.stderr.strip() or done.returncode}", context={"command": " ".join(words)}
        )
    return done.stdout


def _attempt(*words: str) -> None:
    subprocess.run(words, capture_output=True, env=environment(), check=False)
