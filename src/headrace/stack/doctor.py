"""Findings about the machine and the installation, each with what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from headrace.core.errors import HeadraceError
from headrace.core.home import Home
from headrace.stack.assets import FLINK_JAR_GROUPS, REQUIRED_GROUPS, Assets
from headrace.stack.client import find_status
from headrace.stack.jdk import choose_jdk, system_jdks
from headrace.stack.logs import MIN_FREE_BYTES, free_bytes
from headrace.stack.options import StackOptions
from headrace.stack.ports import IsFree, is_free, load_ports, owner_of
from headrace.stack.specs import SERVICES, find_module
from headrace.stack.supervisor import PORTS_FILE

State = Literal["ok", "warn", "fail"]
DISK_WANTED_BYTES = 5 << 30  # a day of a busy demo's topics, checkpoints and OLAP parts
FIXED_MEMORY_MB = 1500  # Kafka, Valkey, OLAP host, driver and the Python services beside Flink, as measured


class Finding(msgspec.Struct, frozen=True):
    """One line of the report."""

    name: str
    state: State
    value: str
    hint: str = ""


def examine(home: Home, options: StackOptions, assets: Assets, *, env: Mapping[str, str] = os.environ) -> list[Finding]:
    """All findings, most basic first."""
    return [
        _python(),
        _jdk(options, env),
        _memory(options, psutil.virtual_memory().available),
        _cores(os.cpu_count() or 1),
        _disk(home, free_bytes(home.root)),
        *_jars(assets),
        _flink(assets),
        *_programs(),
        *_ports(home, is_free),
        *_optional(shutil.which),
    ]


def _python() -> Finding:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding(
        "python",
        "ok" if fits else "fail",
        f"{version}, headrace {importlib.metadata.version('headrace')}",
        "" if fits else "use Python 3.11 to 3.13",
    )


def _jdk(options: StackOptions, env: Mapping[str, str]) -> Finding:
    try:
        jdk = choose_jdk(options.java_home, env=env, installed=system_jdks())
    except HeadraceError as error:
        return Finding("jdk", "fail", f"{error.message}; found: {error.context.get('found', '')}", error.hint)
    return Finding("jdk", "ok", f"{jdk.version} at {jdk.home}")


def _memory(options: StackOptions, available_bytes: int) -> Finding:
    need_mb = options.job_manager_memory_mb + options.task_managers * options.task_manager_memory_mb + FIXED_MEMORY_MB
    have_mb = available_bytes >> 20
    value = f"{have_mb} MiB available, about {need_mb} MiB wanted"
    if have_mb >= need_mb:
        return Finding("memory", "ok", value)
    hint = "lower `headrace.stack.task-manager-memory-mb` or `headrace.stack.task-managers`"
    return Finding("memory", "warn" if have_mb * 2 > need_mb else "fail", value, hint)


def _cores(count: int) -> Finding:
    if count >= 2:
        return Finding("cpu", "ok", f"{count} cores")
    return Finding("cpu", "warn", f"{count} core", "two cores are the least on which the figures of this project hold")


def _disk(home: Home, free: int) -> Finding:
    value = f"{free >> 30} GiB free for {home.root}"
    if free >= DISK_WANTED_BYTES:
        return Finding("disk", "ok", value)
    return Finding("disk", "warn" if free > MIN_FREE_BYTES else "fail", value, "free space or use another `--home`")


def _jars(assets: Assets) -> Iterable[Finding]:
    for group in dict.fromkeys((*REQUIRED_GROUPS, *FLINK_JAR_GROUPS)):
        jars = assets.jars(group)
        size_mb = sum(jar.stat().st_size for jar in jars) >> 20
        if jars:
            yield Finding(f"jars/{group}", "ok", f"{len(jars)} jars, {size_mb} MiB")
        else:
            yield Finding(f"jars/{group}", "fail" if group in REQUIRED_GROUPS else "warn", "absent", "run `make setup`")


def _flink(assets: Assets) -> Finding:
    try:
        dist = next((assets.flink_distribution() / "lib").glob("flink-dist-*.jar"))
    except (HeadraceError, StopIteration):
        return Finding("flink", "fail", "environment is not installed", "run `make setup`")
    return Finding("flink", "ok", f"{dist.stem.removeprefix('flink-dist-')} in {assets.runtime / '.venv'}")


def _programs() -> Iterable[Finding]:
    for name, (module, _, _) in SERVICES.items():
        if find_module(module) is None:
            yield Finding(name, "fail", f"module {module} is absent", "reinstall Headrace")


def _ports(home: Home, free: IsFree) -> Iterable[Finding]:
    path = home.data / PORTS_FILE
    ports = load_ports(path)
    if not ports:
        yield Finding("ports", "ok", "chosen at the first `headrace up`")
    elif find_status(home) is not None:
        yield Finding("ports", "ok", f"{min(ports.values())}-{max(ports.values())}, in use by this stack")
    else:
        taken = [f"{name} {port} by {owner_of(port)}" for name, port in ports.items() if not free(port)]
        hint = f"stop those processes, or remove {path}"
        yield (
            Finding("ports", "fail", f"taken: {', '.join(taken)}", hint)
            if taken
            else Finding("ports", "ok", f"{min(ports.values())}-{max(ports.values())} free")
        )


def _optional(which: Callable[[str], str | None]) -> Iterable[Finding]:
    browsers = [
        *(Path(found) for name in ("chromium", "google-chrome", "chromium-browser") if (found := which(name))),
        *sorted((Path.home() / ".cache" / "ms-playwright").glob("chromium-*")),
    ]
    uses = {"nginx": "`make demo-live`", "ffmpeg": "`make demo-live`", "mvn": "`make setup`"}
    yield (
        Finding("chromium", "ok", str(browsers[0]))
        if browsers
        else Finding(
            "chromium", "warn", "absent", "only for `make demo-live` and browser tests: `playwright install chromium`"
        )
    )
    for name, use in uses.items():
        found = which(name) or ("/usr/sbin/nginx" if name == "nginx" and Path("/usr/sbin/nginx").exists() else None)
        yield (
            Finding(name, "ok", found)
            if found
            else Finding(name, "warn", "absent", f"only for {use}: `apt-get install {name}`")
        )
