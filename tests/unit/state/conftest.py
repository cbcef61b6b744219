"""The kept checkpoints of real Flink jobs (scripts/state_fixtures.py), unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"
Unpack = Callable[[str], Path]


@pytest.fixture(scope="session")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """Gives the folder of one job on one backend, such as `sql-hashmap`: in it `canonical`, `native`, `checkpoint`."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with zipfile.ZipFile(FIXTURES / f"{name}.zip") as archive:
                archive.extractall(made[name])
        return made[name]

    return folder
