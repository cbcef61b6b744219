"""A live stream over two CDNs on one machine: ffmpeg, two nginx in network namespaces, bandwidth limits.

    encoder   ffmpeg: test picture, two variants, 1 s segments, program date time        -> <folder>/live
    bridge    10.77.<octet>.1 in the host, one namespace a CDN behind a veth pair        -> http://10.77.<octet>.2, .3
    limit     `tc qdisc replace ... tbf` inside a CDN's namespace (the kernel here has no netem)

Everything is named after the process id, so that two testbeds do not meet, and `close` removes it in reverse order, also
after a failure half-way. Needs root; `check` says what is missing before anything is made.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from headrace.core.clock import Clock
from headrace.core.errors import Internal, Unavailable, Unsupported

PROGRAMS = {"ffmpeg": "ffmpeg", "nginx": "nginx-light", "ip": "iproute2", "tc": "iproute2", "chromium": "chromium"}
SEARCH_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
ENCODER_READY_S = 20.0
SEGMENT_S = 1

SEGMENTS_READY = 4  # a player begins three segments behind the live edge

# Two variants of a test picture; zero latency and a key frame a second, so that each segment can be shown by itself.
ENCODER = """
ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=330:sample_rate=44100
  -filter_complex [0:v]split=2[a][b];[b]scale=320:180[c] -map [a] -map [c] -map 1:a -map 1:a
  -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -profile:v baseline -g 25 -sc_threshold 0
  -b:v:0 1500k -maxrate:v:0 1500k -bufsize:v:0 1500k -b:v:1 400k -maxrate:v:1 400k -bufsize:v:1 400k -c:a aac -b:a 64k
  -f hls -hls_time {segment_s} -hls_list_size 12 -hls_delete_threshold 20
  -hls_flags delete_segments+program_date_time+independent_segments -var_stream_map 'v:0,a:0 v:1,a:1'
  -hls_segment_filename {live}/v%v_%05d.ts {live}/v%v.m3u8
"""

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx-{cdn}.pid; error_log {folder}/nginx-{cdn}.err warn;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
  client_body_temp_path {folder}/body-{cdn}; proxy_temp_path {folder}/proxy-{cdn}; fastcgi_temp_path {folder}/fcgi-{cdn};
  uwsgi_temp_path {folder}/uwsgi-{cdn}; scgi_temp_path {folder}/scgi-{cdn};
  server {{ listen {address}:80; root {folder}/live; add_header Access-Control-Allow-Origin *; add_header Cache-Control no-store; }}
}}
"""


def check(*, root: bool = os.geteuid() == 0) -> None:
    """See whether a testbed can be made here.

    Raises:
        Unsupported: not root, or a program is missing; says what to do.
    """
    if not root:
        raise Unsupported(
            "demo-live needs root for network namespaces and traffic limits",
            hint="run it with sudo, or run `headrace demo`, which replays recorded players without root",
        )
    path = f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})
    if missing:
        raise Unsupported(
            "programs of the testbed are missing",
            context={"packages": " ".join(missing)},
            hint="`make demo-live` installs them, or: apt-get install " + " ".join(missing),
        )


class Testbed:
    """The running testbed; `addresses` maps each CDN to its address."""

    __test__ = False  # not a pytest class

    def __init__(self, folder: Path, clock: Clock, *, octet: int = 0) -> None:
        self.folder = folder
        self._clock = clock
        self._tag = f"{os.getpid() % 46656:x}"
        self._octet = octet or 77
        self._undo: list[Callable[[], None]] = []
        self.addresses = {"A": f"10.{self._octet}.0.2", "B": f"10.{self._octet}.0.3"}

    def __enter__(self) -> Testbed:
        """Make the network, start the encoder and the CDNs."""
        try:
            (self.folder / "live").mkdir(parents=True)
            self._bridge()
            for cdn, address in self.addresses.items():
                self._namespace(cdn, address)
            self._encoder()
            for cdn, address in self.addresses.items():
                self._nginx(cdn, address)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove everything."""
        self.close()

    def close(self) -> None:
        """Undo every step that was done, last first; failures of one do not keep the others."""
        while self._undo:
            self._undo.pop()()
        shutil.rmtree(self.folder, ignore_errors=True)

    def limit(self, cdn: str, *, kbit_per_s: int) -> None:
        """Cut a CDN's outgoing bandwidth to a crawl."""
        self._in(
            cdn,
            "tc",
            "qdisc",
            "replace",
            "dev",
            "eth0",
            "root",
            "tbf",
            "rate",
            f"{kbit_per_s}kbit",
            "burst",
            "16kb",
            "latency",
            "400ms",
        )

    def release(self, cdn: str) -> None:
        """Give a CDN its bandwidth back."""
        self._in(cdn, "tc", "qdisc", "del", "dev", "eth0", "root")

    def _bridge(self) -> None:
        bridge = f"hrb{self._tag}"
        _command("ip", "link", "add", bridge, "type", "bridge")
        self._undo.append(lambda: _attempt("ip", "link", "del", bridge))
        _command("ip", "addr", "add", f"10.{self._octet}.0.1/24", "dev", bridge)
        _command("ip", "link", "set", bridge, "up")

    def _namespace(self, cdn: str, address: str) -> None:
        name, outer = self._name(cdn), f"hv{self._tag}{cdn}"
        _command("ip", "netns", "add", name)
        self._undo.append(lambda: _attempt("ip", "netns", "del", name))
        _command("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._undo.append(lambda: _attempt("ip", "link", "del", outer))
        _command("ip", "link", "set", outer, "master", f"hrb{self._tag}", "up")
        self._in(cdn, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        self._in(cdn, "ip", "link", "set", "eth0", "up")
        self._in(cdn, "ip", "link", "set", "lo", "up")

    def _encoder(self) -> None:
        live = self.folder / "live"
        command = shlex.split(ENCODER.format(live=live, segment_s=SEGMENT_S))
        self._start("encoder", command)
        deadline = self._clock.monotonic_s() + ENCODER_READY_S
        while len(list(live.glob("v0_*.ts"))) < SEGMENTS_READY:
            if self._clock.monotonic_s() > deadline:
                raise Unavailable(
                    "the encoder produced no segments",
                    context={"log": self.folder / "encoder.log"},
                    hint="see the log; is the machine overloaded?",
                )
            self._clock.sleep(0.2)

    def _nginx(self, cdn: str, address: str) -> None:
        config = self.folder / f"nginx-{cdn}.conf"
        config.write_text("user root;" + NGINX.format(folder=self.folder, cdn=cdn, address=address))
        self._start(
            f"nginx-{cdn}", ["ip", "netns", "exec", self._name(cdn), "nginx", "-c", str(config), "-p", str(self.folder)]
        )

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment())
        self._undo.append(lambda: stop(process))

    def _name(self, cdn: str) -> str:
        return f"hr{self._tag}{cdn}"

    def _in(self, cdn: str, *command: str) -> None:
        _command("ip", "netns", "exec", self._name(cdn), *command)


def stop(process: subprocess.Popen[bytes], *, timeout_s: float = 5.0) -> None:
    """End a child: TERM, then KILL."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"}


def _command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode != 0:
        raise Internal(
            f"testbed command failed: {done.stderr.strip() or done.returncode}", context={"command": " ".join(command)}
        )


def _attempt(*command: str) -> None:
    subprocess.run(command, capture_output=True, env=_environment(), check=False)
