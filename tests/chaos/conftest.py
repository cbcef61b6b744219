"""Chaos tests share the stack fixture of the cluster tests; each session starts a stack of its own."""

from __future__ import annotations

from tests.cluster.conftest import pytest_collection_modifyitems, pytest_runtest_makereport, stack

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport", "stack"]
