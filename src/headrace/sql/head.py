"""The comment head of a pipeline file: `-- key: value` lines before the first statement.

    -- name: play_interval
    -- tier: P0
    -- parallelism: 2
    -- freshness: 2 s from event to row
    -- config: table.exec.state.ttl = 30 min
    -- Prose starts with a capital letter or has no colon after its first word; it is not looked at.

Keys are lower case. A lower-case word with a colon that is no key is refused, because a typing error in `parallelism` must not be
taken for prose. Pure; the SQL below the head is never looked at here.
"""

from __future__ import annotations

import re

import msgspec

from headrace.core.errors import Invalid, Place, nearest

TIERS = ("P0", "P1", "P2")
KEYS = ("name", "tier", "parallelism", "freshness", "config")
PARALLELISM_MAX = 720  # the profile's pipeline.max-parallelism: more subtasks could hold no key group
FRESHNESS_CHARS_MAX = 200
NAME = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_PAIR = re.compile(r"^--\s*([a-z][a-z_-]*)\s*:(?:\s+(.*?))?\s*$")
# Promises of the platform that a pipeline cannot take back (DESIGN: checkpoints always on, failover by profile).
RESERVED_CONFIG = (
    "execution.checkpointing.",
    "execution.runtime-mode",
    "execution.target",
    "execution.savepoint",
    "execution.state-recovery",
    "pipeline.name",
    "restart-strategy",
    "rest.",
    "jobmanager.",
    "taskmanager.",
    "high-availability",
    "$internal",
)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline promises and asks for; `parallelism` 0 means the target's default."""

    name: str
    tier: str = "P2"
    parallelism: int = 0
    freshness: str = ""
    config: dict[str, str] = {}


def parse_head(text: str, *, file: str) -> Head:
    """Read the head of one pipeline file.

    Raises:
        Invalid: no name, an unknown or repeated key, a value of the wrong form; names file and line.
    """
    values: dict[str, str] = {}
    config: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("--"):
            break
        match = _PAIR.match(stripped)
        if match is None:
            continue
        place, key, value = Place(file, number), match.group(1), (match.group(2) or "").strip()
        _check_key(key, value, values, place=place)
        if key == "config":
            config.update([_config_pair(value, config, place=place)])
        else:
            values[key] = _checked(key, value, place=place)
    if "name" not in values:
        raise Invalid("a pipeline needs a name", place=Place(file, 1), hint="first line: `-- name: my_pipeline`")
    parallelism = int(values.get("parallelism", "0"))
    return Head(
        name=values["name"],
        tier=values.get("tier", "P2"),
        parallelism=parallelism,
        freshness=values.get("freshness", ""),
        config=config,
    )


def _check_key(key: str, value: str, seen: dict[str, str], *, place: Place) -> None:
    if key not in KEYS:
        close = ", ".join(nearest(key, KEYS)) or ", ".join(KEYS)
        raise Invalid(
            "unknown key in the head",
            place=place,
            context={"key": key},
            hint=f"known: {close}; a comment that starts with a capital letter is prose",
        )
    if key in seen:
        raise Invalid("key given twice in the head", place=place, context={"key": key}, hint="keep one of the lines")
    if not value:
        raise Invalid("key without a value in the head", place=place, context={"key": key}, hint=f"`-- {key}: …`")


def _checked(key: str, value: str, *, place: Place) -> str:
    if key == "name" and not NAME.match(value):
        raise Invalid(
            "bad pipeline name",
            place=place,
            context={"name": value},
            hint="lower-case letters, digits, `_` and `-`, starting with a letter, at most 63",
        )
    if key == "tier" and value not in TIERS:
        raise Invalid("unknown tier", place=place, context={"tier": value}, hint=f"known: {', '.join(TIERS)}")
    if key == "parallelism" and not (value.isdecimal() and 1 <= int(value) <= PARALLELISM_MAX):
        raise Invalid(
            "bad parallelism",
            place=place,
            context={"parallelism": value},
            hint=f"a whole number from 1 to {PARALLELISM_MAX}",
        )
    if key == "freshness" and len(value) > FRESHNESS_CHARS_MAX:
        raise Invalid("freshness is too long", place=place, hint=f"one short promise, {FRESHNESS_CHARS_MAX} characters")
    return value


def _config_pair(value: str, seen: dict[str, str], *, place: Place) -> tuple[str, str]:
    key, equals, setting = (part.strip() for part in value.partition("="))
    if not equals or not key or not setting:
        raise Invalid("bad config line in the head", place=place, hint="`-- config: table.exec.state.ttl = 30 min`")
    reserved = next((prefix for prefix in RESERVED_CONFIG if key.startswith(prefix)), None)
    if reserved is not None:
        raise Invalid(
            "a pipeline cannot set this",
            place=place,
            context={"key": key},
            hint=f"`{reserved}…` belongs to the platform's profile: checkpoints and restarts are always on",
        )
    if key in seen:
        raise Invalid("config key given twice in the head", place=place, context={"key": key}, hint="keep one")
    return key, setting
