# SPDX-License-Identifier: Apache-2.0
"""A real browser that has no window, and what it says of a page."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from needs import need


@contextlib.contextmanager
def browser(*, dark: bool = False) -> Iterator[Any]:
    """Debian's chromium, by selenium."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            need("needs the Debian packages chromium and chromium-driver")
    # Whoever has no browser has no selenium either.
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    if dark:
        options.add_argument("--force-dark-mode")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        service = Service(shutil.which("chromedriver"), env={**os.environ, "HOME": profile})
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


def requests(driver: Any) -> list[str]:
    """The URLs that were asked for since this was asked last."""
    messages = [json.loads(line["message"])["message"] for line in driver.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
