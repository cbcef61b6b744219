"""Fixtures of the browser tests: a fresh Chromium, found where Debian or the environment puts it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.cluster.conftest import stack

__all__ = ["stack"]  # the shared stack, for tests that drive the real board

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


EXPECT_MS = 60_000  # a machine that also runs cluster tests was seen to take 35 s for what takes 2 s


def chromium_path() -> str | None:
    """Chromium's executable, if there is one."""
    return os.environ.get("HEADRACE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One headless Chromium for all tests; skips where none is installed, except in CI, where that is a failure."""
    path = chromium_path()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: `make setup` installs it")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        expect.set_options(timeout=EXPECT_MS)
        playwright.selectors.set_test_id_attribute("data-test")
        started = playwright.chromium.launch(
            executable_path=path, headless=True, args=FLAGS, downloads_path=str(tmp_path_factory.mktemp("downloads"))
        )
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile, wide and light."""
    made = browser.new_context(
        viewport={"width": 1360, "height": 900}, color_scheme="light", locale="en-GB", timezone_id="UTC"
    )
    made.set_default_timeout(EXPECT_MS)
    yield made
    made.close()


@pytest.fixture(scope="session")
def static_files() -> Path:
    """The built front end; `make setup` builds it."""
    static = Path(__file__).parents[2] / "src/headrace/console/static"
    if not (static / "index.html").is_file():
        pytest.fail("the console is not built: `cd console && npm ci && npm run build`")
    return static
