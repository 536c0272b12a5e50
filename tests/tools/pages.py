"""Waiting for what a page does."""

import time


def until(page, expression, seconds=60):
    """Wait until an expression is true on a page, whose policy forbids the ``eval`` of ``page.wait_for_function``."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)
