"""The server that is attacked over sockets: a process of its own, so that its loop and its memory
are its own.

Prints one line of JSON, {"port", "pki"}, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys

import uvloop

from tests.apiserver.builders import definition, established
from tiphys.apiserver.eventloop.aside import SWITCH_INTERVAL
from tiphys.apiserver.eventloop.memory import settle_allocator
from tiphys.client.collection import settle_collector
from tiphys.testing import LocalCluster


async def main() -> None:
    async with LocalCluster() as server:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        path = "/api/v1/namespaces/default/serviceaccounts"
        await server.client.request("POST", path, json.dumps(account).encode())
        scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        await established(server, definition(subresources={"status": {}, "scale": scale}))
        server.client_as("jane")
        watchdog = server.server.server.watchdog
        gc.freeze()
        watchdog.longest = 0.0  # what starting has cost is not what is asked here
        print(json.dumps({"port": server.port, "root": str(server.root)}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()
    settle_allocator()
    settle_collector()
    uvloop.run(main())
