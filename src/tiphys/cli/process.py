"""A component as the process it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tiphys.client.component import Ending

T = TypeVar("T")


def run_process(main: Coroutine[Any, Any, T], collects: bool = False) -> T:
    """`collects`: it sees to its thorough collections itself, see `tiphys.client.collection`."""
    import gc

    import uvloop

    from tiphys.client.collection import settle_collector
    from tiphys.client.unnamed import leave_servers_unnamed

    leave_servers_unnamed()
    # What is loaded now lives as long as the process: collections need not look at it again.
    gc.collect()
    gc.freeze()
    settle_collector()
    return uvloop.run(main if collects else _with_sparse_collections(main))


async def _with_sparse_collections(main: Coroutine[Any, Any, T]) -> T:
    from tiphys.client.collection import collect_sparsely
    from tiphys.client.tasks import TaskGroup

    tasks = TaskGroup("process")
    tasks.start(collect_sparsely(), "collections")
    try:
        return await main
    finally:
        await tasks.stop()


def end_process(ending: Ending) -> None:
    """Exits with a status for how the component ended, or restarts its command in this process."""
    import logging

    from tiphys.client.component import Ending

    if ending is Ending.LOST:
        raise SystemExit(1)
    if ending is Ending.SHRUNK:
        logging.getLogger(__name__).info("Restarting this component: %s", ending.value)
        os.execv(sys.executable, sys.orig_argv)
