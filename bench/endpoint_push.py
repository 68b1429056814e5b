"""How soon a changed endpoint is with everybody who subscribes: 100 xDS clients of 1,000 services
with 10 endpoints each.

The server runs in this process, the clients in another, so that the processor time of each is its
own. The goal is 100 ms until the last client has it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from multiprocessing import get_context
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from tiphys.network.xds.cache import ENDPOINTS, Cache
from tiphys.network.xds.server import XdsServer
from tiphys.network.xds.services import Endpoint, assignment

SERVICES = 1000
CLIENTS = 100
CHANGES = 20
NAMES = [f"service-{number}.default:80" for number in range(SERVICES)]


def endpoints(service: int, change: int = 0) -> list[Endpoint]:
    address = f"10.{service // 250}.{service % 250}."
    return [
        Endpoint(f"{address}{last}", 8080 + (change if last == 1 else 0), f"zone-{last % 3}", True)
        for last in range(1, 11)
    ]


async def client(port: int, heard: Any) -> None:
    """Subscribes to everything, and reports when each change after the first answer arrives."""
    options = (("grpc.max_receive_message_length", 1 << 26), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
        await stream.write(discovery_pb2.DiscoveryRequest(type_url=ENDPOINTS, resource_names=NAMES))
        while (answer := await stream.read()) is not grpc.aio.EOF:
            heard.put(time.monotonic())
            acknowledgement = discovery_pb2.DiscoveryRequest(
                type_url=ENDPOINTS, resource_names=NAMES, response_nonce=answer.nonce
            )
            await stream.write(acknowledgement)


async def clients(port: int, heard: Any) -> None:
    await asyncio.gather(*(client(port, heard) for _ in range(CLIENTS)))


def run_clients(port: int, heard: Any) -> None:
    asyncio.run(clients(port, heard))


async def main() -> None:
    cache = Cache()
    began = time.process_time()
    for number, name in enumerate(NAMES):
        cache.update({ENDPOINTS: {name: assignment(name, endpoints(number))}})
    print(f"compiling {SERVICES} services: {time.process_time() - began:.2f} s CPU")
    server = XdsServer(cache)
    port = await server.start("127.0.0.1:0")
    spawning = get_context("spawn")  # gRPC does not live through a fork
    heard: Any = spawning.Queue()
    process = spawning.Process(target=run_clients, args=(port, heard), daemon=True)
    process.start()
    began = time.process_time()
    for _ in range(CLIENTS):
        await asyncio.to_thread(heard.get, True, 60)
    print(f"first answers to {CLIENTS} clients: {time.process_time() - began:.2f} s CPU")
    last = []
    began = time.process_time()
    for change in range(1, CHANGES + 1):
        await asyncio.sleep(0.2)  # acknowledgements are in
        name = NAMES[change]
        changed_at = time.monotonic()
        cache.update({ENDPOINTS: {name: assignment(name, endpoints(change, change))}})
        arrivals = [await asyncio.to_thread(heard.get, True, 60) for _ in range(CLIENTS)]
        last.append((max(arrivals) - changed_at) * 1000)
    used = (time.process_time() - began) / CHANGES * 1000
    print(
        f"a changed endpoint with the last of {CLIENTS}: median {statistics.median(last):.0f} ms, "
        f"worst {max(last):.0f} ms (goal 100); {used:.0f} ms CPU of the server"
    )
    process.terminate()
    await server.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
