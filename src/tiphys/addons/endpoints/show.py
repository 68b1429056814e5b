"""``python -m tiphys.addons.endpoints.show NAME.NAMESPACE:PORT``: the endpoints of a service, as
they change."""

from __future__ import annotations

import asyncio
import sys

from tiphys.addons.endpoints.balancing import Address
from tiphys.addons.endpoints.discovery import follow


def show(addresses: list[Address]) -> None:
    print(", ".join(f"{one.target} ({one.zone or 'no zone'})" for one in addresses) or "none")


def main() -> None:
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: python -m tiphys.addons.endpoints.show NAME.NAMESPACE:PORT [SERVER]")
    server = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:18000"
    try:
        asyncio.run(follow(server, sys.argv[1], "show", show))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
