"""``python -m tiphys.addons.endpoints.show NAME.NAMESPACE:PORT``: the endpoints of a service, as
they change."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence

from tiphys.addons.endpoints.balancing import Address
from tiphys.addons.endpoints.discovery import follow


def show(addresses: Sequence[Address]) -> None:
    print(", ".join(f"{one.target} ({one.zone or 'no zone'})" for one in addresses) or "none")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """`service` and `server`. Raises SystemExit with a line on how it is used."""
    parser = argparse.ArgumentParser(
        prog="python -m tiphys.addons.endpoints.show",
        description="shows the endpoints of a service, as they change",
    )
    parser.add_argument("service", metavar="NAME.NAMESPACE:PORT")
    parser.add_argument("server", metavar="SERVER", nargs="?", default="127.0.0.1:18000")
    return parser.parse_args(given)


def main() -> None:
    asked = arguments()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(follow(asked.server, asked.service, "show", show))


if __name__ == "__main__":
    main()
