"""A gRPC server that says its name and counts its calls itself: `python -m tests.e2e.grpcserver
NAME`. It prints its port."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc


async def main(name: str) -> None:
    calls = 0

    async def who(request: bytes, context: Any) -> bytes:
        nonlocal calls
        calls += 1
        return name.encode()

    async def count(request: bytes, context: Any) -> bytes:
        return str(calls).encode()

    server = grpc.aio.server()
    handlers = {
        "Are": grpc.unary_unary_rpc_method_handler(who),
        "Count": grpc.unary_unary_rpc_method_handler(count),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Who", handlers),))
    print(server.add_insecure_port("0.0.0.0:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
