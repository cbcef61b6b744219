"""The cluster profile: which Flink settings Headrace ships, each with its reason, and which of them a job must carry.

`cluster.toml` is the data. `cluster_settings` is what goes into config.yaml (the stack adds its
addresses and renders it); `job_config` is what must be passed when a job is
submitted, because cluster-wide checkpoint settings do not reach jobs that come from Python.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from functools import lru_cache
from typing import Literal

import msgspec

from headrace.core.home import Home

PROFILE_FILE = "cluster.toml"


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Flink setting; `scope` says where it has to be written."""

    key: str
    value: str
    scope: Literal["cluster", "job", "both"]
    reason: str


@lru_cache(maxsize=1)
def load_profile() -> tuple[Setting, ...]:
    """All settings of the shipped profile, in the file's order."""
    text = importlib.resources.files(__name__).joinpath(PROFILE_FILE).read_text("utf-8")
    return tuple(msgspec.convert(tomllib.loads(text)["setting"], list[Setting]))


def cluster_settings(home: Home) -> dict[str, str]:
    """The settings for config.yaml of the stack in `home`."""
    return _settings(home, {"cluster", "both"})


def job_config(home: Home) -> dict[str, str]:
    """The settings to pass with each job that is submitted to the stack in `home`."""
    return _settings(home, {"job", "both"})


def _settings(home: Home, scopes: set[str]) -> dict[str, str]:
    places = {"checkpoints": home.checkpoints.as_uri(), "savepoints": home.savepoints.as_uri()}
    return {row.key: row.value.format_map(places) for row in load_profile() if row.scope in scopes}
