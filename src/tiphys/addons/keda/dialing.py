"""TCP of triggers: where it may go, TLS, and how long it may take."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from typing import Any

from tiphys.addons.keda.scaler import Config, ScalerError
from tiphys.addons.reaching import Place, ReachError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def host_port(address: str, default: int | None = None) -> tuple[str, int]:
    """Of ``host:port``. Raises ScalerError."""
    host, colon, port = address.rpartition(":")
    if not colon or "]" in port:
        host = address
        port = str(default or "")
    if not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise ScalerError(f"dial tcp: address {address}: missing port in address")
    return host.strip("[]"), int(port)


async def place_of(config: Config, host: str, port: int) -> Place:
    """The address that a trigger may connect to. Raises ScalerError."""
    try:
        return await config.surroundings.reach.find(host, port, config.namespace)
    except ReachError as error:
        raise ScalerError(str(error)) from None


async def dial(config: Config, host: str, port: int, tls: ssl.SSLContext | None = None) -> Streams:
    """A connection. Raises ScalerError."""
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(config.surroundings.timeout):
            place = await place_of(config, host, port)
            return await asyncio.open_connection(
                place.host, place.port, ssl=tls, server_hostname=host if tls else None
            )
    except TimeoutError:
        raise ScalerError(f"dial tcp {where}: i/o timeout") from None
    except OSError as error:
        raise ScalerError(f"dial tcp {where}: {error}") from None


def needed(module: str, trigger: str) -> Any:
    """A module of the extra dependencies. Raises ScalerError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ScalerError(
            f"the trigger {trigger} needs {module}: pip install 'tiphys[keda]'"
        ) from None
