"""Pages in a browser: a headless Chromium of this machine, by playwright; else the test skips."""

import contextlib
import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@contextlib.contextmanager
def launched():
    """A browser."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    with playwright.sync_playwright() as started:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"] * (os.getuid() == 0)}
        found = started.chromium.launch(**options)
        yield found
        found.close()


@contextlib.contextmanager
def opened(browser, address, width, height=900, **options):
    """A page; it must ask no other machine, and complain of nothing."""
    asked, said = [], []
    with browser.new_context(viewport={"width": width, "height": height}, **options) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        yield page
        # Nothing lies beside the page, whatever its width.
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0
    assert not said
    assert all(url.startswith((address, "data:")) for url in asked)
