"""A client that writes one object after the other and watches them all, whatever happens to the
servers: ``python -m tests.e2e.writer KUBECONFIG RECORD``.

RECORD gets a line for each acknowledged write, with the time, and for what the watch has shown. The
first SIGTERM ends the writing; the client leaves once the watch has shown everything it wrote, or
does not within `LONGEST_WAIT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.client.informer import Informer
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError, is_already_exists

NAMESPACE = "default"
LONGEST_WAIT = 30.0  # seconds


class Seen:
    """The numbers that the watch has shown, and who waits for some of them."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._news = asyncio.Event()

    def add(self, number: int) -> None:
        self._numbers.add(number)
        self._news.set()

    async def all_of(self, numbers: set[int]) -> None:
        while not numbers <= self._numbers:
            self._news.clear()
            await self._news.wait()


async def write(client: Client, out: TextIO, written: set[int]) -> None:
    """Adds to `written` what was acknowledged.

    A write that was not acknowledged is tried again; that it was made already counts.
    """
    number = 0
    while True:
        config = core_v1.ConfigMap(
            metadata=ObjectMeta(name=f"w-{number}", namespace=NAMESPACE, labels={"by": "writer"})
        )
        try:
            await client.create(config)
        except Unreachable:
            continue
        except StatusError as error:
            if not is_already_exists(error):
                await asyncio.sleep(0.05)
                continue
        server = client._servers.current
        note(out, {"written": number, "time": time.monotonic(), "server": server})
        written.add(number)
        number += 1


def note(out: TextIO, line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


async def main(kubeconfig: str, out: TextIO) -> None:
    stop = stop_event()
    tasks = TaskGroup("writer")
    written, seen = set[int](), Seen()
    async with Client(load(kubeconfig), "writer") as client:
        configs = Informer(client, core_v1.ConfigMap, namespace=NAMESPACE, labels="by=writer")

        def changed(old: object, new: core_v1.ConfigMap | None) -> None:
            if old is None and new is not None:
                number = int(new.metadata.name[2:])
                note(out, {"seen": number})
                seen.add(number)

        configs.on_change(changed)
        tasks.start(configs.run(), "informer")
        await configs.synced.wait()
        writing = tasks.start(write(client, out, written), "write")
        await stop.wait()
        writing.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(seen.all_of(written), LONGEST_WAIT)
        note(out, {"lists": configs._lists_done})
        await tasks.stop()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as record:
        asyncio.run(main(sys.argv[1], record))
