"""The shared secret of a cluster's Hawk: a file that only its owner may read; every host uses a key of its own.

Observers hold the cluster key and derive the key of any host from it. An agent holds only its host's key, so whoever takes
over a host can neither speak for another one nor vote.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from headrace.core.errors import Conflict, Invalid, NotFound

KEY_BYTES = 32
_OBSERVERS = b"hawk observers"
_HOST = b"hawk host "


def host_key(cluster_key: bytes, host: str) -> bytes:
    """The key of one host's agent; what observers answer it with, too."""
    return hmac.digest(cluster_key, _HOST + host.encode(), "sha256")


def observers_key(cluster_key: bytes) -> bytes:
    """The key that observers use among themselves."""
    return hmac.digest(cluster_key, _OBSERVERS, "sha256")


def new_key() -> bytes:
    """A new cluster key."""
    return secrets.token_bytes(KEY_BYTES)


def write_key(path: Path, key: bytes) -> None:
    """Store a key as one line of hexadecimal digits, readable by its owner only.

    Raises:
        Conflict: there is a file already; a key is never overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(
            "there is a key already", context={"path": path}, hint="remove it first; all agents then need the new one"
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")


def read_key(path: Path) -> bytes:
    """A key from its file.

    Raises:
        NotFound: there is no such file.
        Invalid: others may read it, or it holds no key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except FileNotFoundError as error:
        raise NotFound("no Hawk key", context={"path": path}, hint="make one: `headrace hawk key FILE`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"Hawk key cannot be read: {error}", context={"path": path}) from error
    if stat.S_IMODE(mode) & 0o077:
        raise Invalid(
            "Hawk key may be read by others",
            context={"path": path, "mode": oct(stat.S_IMODE(mode))},
            hint=f"`chmod 600 {path}`",
        )
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Invalid(
            "Hawk key is damaged",
            context={"path": path},
            hint=f"one line of {KEY_BYTES * 2} hexadecimal digits: `headrace hawk key FILE`",
        )
    return key
