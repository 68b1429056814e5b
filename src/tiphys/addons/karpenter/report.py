"""``python -m tiphys.addons.karpenter.report NAME``: the disruptions of a pool, as a page."""

from __future__ import annotations

import asyncio
import sys

from tiphys.addons.karpenter.reporting import page
from tiphys.addons.karpenter.types import DisruptionReport
from tiphys.client.client import Client
from tiphys.client.config import load


async def show(name: str) -> str:
    """The page of a pool's report. Raises StatusError."""
    async with Client(load(None)) as client:
        return page(await client.get(DisruptionReport, name))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tiphys.addons.karpenter.report NODEPOOL")
    print(asyncio.run(show(sys.argv[1])), end="")
