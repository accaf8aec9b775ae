"""A headless Chromium for the tests.  Where MINIXL_REQUIRE_BROWSER=1, a missing one is a failure, elsewhere a skipped test."""
from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "MINIXL_REQUIRE_BROWSER"
FLAGS = ["--no-sandbox",                       # root has no sandbox
         "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--no-default-browser-check"]


@contextmanager
def launched() -> Iterator[Any]:
    """Start the browser that is on PATH."""
    path = next(filter(None, map(shutil.which, COMMANDS)), None)
    if path is None:
        _missing(f"none of {', '.join(COMMANDS)} is on PATH; install one (Debian: apt-get install chromium fonts-dejavu-core)")
    if importlib.util.find_spec("playwright") is None:
        _missing("playwright is not installed; run: pip install '.[test]'")
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            pytest.fail(f"{path}: expected a Chromium that starts, found: {str(error).splitlines()[0]}; install another one")
        yield browser
        browser.close()


def _missing(problem: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {problem}")
    pytest.skip(f"no test in a browser: {problem}")
