"""What tests of attacks have in common."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def what_was_there_before_is_not_collected() -> Iterator[None]:
    """A process that has run thousands of tests holds a million objects: to look at them all takes
    the collector a second, which is not the server's and would be taken for a hold of its loop."""
    gc.freeze()
    yield
