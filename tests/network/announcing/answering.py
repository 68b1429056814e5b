"""Answers for addresses on a link until it is ended: ``python -m ... LINK ADDRESS...``."""

from __future__ import annotations

import asyncio
import ipaddress
import sys

from tiphys.network.announcing import frames
from tiphys.network.announcing.announcer import Port, links


async def main(name: str, *addresses: str) -> None:
    port = Port(next(link for link in links() if link.name == name))
    ours = {ipaddress.ip_address(address) for address in addresses}

    def hear(port: Port, heard: frames.AddressMessage) -> None:
        if heard.address in ours and not heard.claims:
            port.send(frames.answer(heard, port.link.mac))

    for address in ours:
        port.join(address)
    port.listen(asyncio.get_running_loop(), hear)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
