"""A browser for the tests of pages, and a page that may do nothing odd."""

import contextlib
import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox, which root cannot have, and nothing that the browser would fetch by itself.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    """Return Chromium. Without it tests are skipped, but not on CI, which installs it."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if program is None or sync_playwright is None:
        missing = "Chromium (apt-get install chromium)" if program is None else "playwright (pip install playwright)"
        reason = f"The report cannot be opened: install {missing}."
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


@contextlib.contextmanager
def opening(browser):
    """Give a function that opens a file; at the end nothing may have been requested, gone wrong or popped up."""
    contexts, odd = [], []

    def open_file(path, *, phone=False, script="", **options):
        view = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
        touch = {"has_touch": True, "is_mobile": True} if phone else {}
        context = browser.new_context(viewport=view, **touch, **options)
        context.set_default_timeout(60_000)  # of a busy machine
        contexts.append(context)
        context.add_init_script(script)
        page, address = context.new_page(), path.as_uri()
        page.on(
            "request", lambda request: request.url.startswith(("data:", "blob:", address)) or odd.append(request.url)
        )
        page.on("console", lambda message: message.type in ("error", "warning") and odd.append(message.text))
        page.on("pageerror", lambda error: odd.append(str(error)))
        page.on("dialog", lambda dialog: (odd.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert odd == []


@pytest.fixture
def open_page(browser):
    with opening(browser) as open_file:
        yield open_file


@pytest.fixture(scope="module")
def open_shared_page(browser):
    """As ``open_page``, for pages that several tests of a module share; unpacking plotly.js takes seconds."""
    with opening(browser) as open_file:
        yield open_file
