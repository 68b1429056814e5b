"""A component as the process it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tiphys.client.component import Ending

T = TypeVar("T")


def run_process(main: Coroutine[Any, Any, T]) -> T:
    import gc

    import uvloop

    from tiphys.client.unnamed import leave_servers_unnamed

    leave_servers_unnamed()
    # What is loaded now lives as long as the process: collections need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    return uvloop.run(main)


def end_process(ending: Ending) -> None:
    """Exits with a status for how the component ended, or restarts its command in this process."""
    import logging

    from tiphys.client.component import Ending

    if ending is Ending.LOST:
        raise SystemExit(1)
    if ending is Ending.SHRUNK:
        logging.getLogger(__name__).info("Restarting this component: %s", ending.value)
        os.execv(sys.executable, sys.orig_argv)
