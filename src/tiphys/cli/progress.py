"""Steps with their times: drawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Steps:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"  … {title}")
            sys.stderr.flush()
        try:
            yield
        except BaseException:
            self._line("✗", title, began)
            raise
        self._line("✓", title, began)

    def _line(self, mark: str, title: str, began: float) -> None:
        lead = "\r\x1b[2K" if self._terminal else ""
        sys.stderr.write(f"{lead}  {mark} {title} ({time.monotonic() - began:.2f} s)\n")
        sys.stderr.flush()
