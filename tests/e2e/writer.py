"""A client that writes one object after the other and watches them all, whatever happens to the
servers: ``python -m tests.e2e.writer KUBECONFIG RECORD``.

RECORD gets a line for each acknowledged write, with the time, and for what the watch has shown.
"""

from __future__ import annotations

import asyncio
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


async def write(client: Client, out: TextIO) -> None:
    """A write that was not acknowledged is tried again; that it was made already counts."""
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
        number += 1


def note(out: TextIO, line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


async def main(kubeconfig: str, out: TextIO) -> None:
    stop = stop_event()
    tasks = TaskGroup("writer")
    async with Client(load(kubeconfig), "writer") as client:
        configs = Informer(client, core_v1.ConfigMap, namespace=NAMESPACE, labels="by=writer")

        def changed(old: object, new: core_v1.ConfigMap | None) -> None:
            if old is None and new is not None:
                note(out, {"seen": int(new.metadata.name[2:])})

        configs.on_change(changed)
        tasks.start(configs.run(), "informer")
        await configs.synced.wait()
        tasks.start(write(client, out), "write")
        await stop.wait()
        note(out, {"lists": configs._lists_done})
        await tasks.stop()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as record:
        asyncio.run(main(sys.argv[1], record))
