"""Orders, as the system itself counts them."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import ResolveResult

from tiphys.addons.loadtest.types import Place
from tiphys.api import discovery_v1
from tiphys.client.client import Client
from tiphys.machinery.addresses import authority

_PATIENCE = 10.0  # seconds for an answer
_LARGEST = 4 << 20  # bytes of a page


class NotMeasured(RuntimeError):
    """The text is the reason why there is no number."""


def total(page: str, metric: str) -> float:
    """The sum of all series of a metric of a page in Prometheus's format (pure). Raises NotMeasured
    when there is none."""
    line = re.compile(rf"^{re.escape(metric)}(?:\{{[^\n]*\}})?\s+(\S+)", re.MULTILINE)
    values = line.findall(page)
    if not values:
        raise NotMeasured(f"the page has no {metric}")
    try:
        return sum(map(float, values))
    except ValueError:
        raise NotMeasured(f"a value of {metric} is no number") from None


async def read(session: aiohttp.ClientSession, url: str, metric: str) -> float:
    """Raises NotMeasured."""
    try:
        timeout = aiohttp.ClientTimeout(_PATIENCE)
        async with session.get(url, timeout=timeout, allow_redirects=False) as answer:
            if answer.status != 200:
                raise NotMeasured(f"{url} answers {answer.status}")
            page = await answer.content.read(_LARGEST)
            return total(page.decode(errors="replace"), metric)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise NotMeasured(f"{url}: {_error_text(error)}") from None


def _error_text(error: BaseException) -> str:
    return str(getattr(error, "os_error", None) or error or "no answer")


class _Resolver(aiohttp.ThreadedResolver):
    """Leaves out what only this machine reaches."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        resolved = await super().resolve(host, port, family)
        kept = [one for one in resolved if not _is_inner(one["host"])]
        if not kept:
            raise OSError(f"{host} is this machine: tests may ask it with the setting local=true")
        return kept


def _is_inner(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified


def asker(local: bool) -> aiohttp.ClientSession:
    """What asks pages that users name. Without `local`, none of this machine's own."""
    if local:
        return aiohttp.ClientSession()
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=_Resolver()))


def check(url: str, local: bool) -> None:
    """Raises NotMeasured for an address of this machine: names are checked when they are
    resolved."""
    host = urlsplit(url).hostname or ""
    if not local and _is_inner(host):
        raise NotMeasured(f"{host} is this machine: tests may ask it with the setting local=true")


async def pages(client: Client, place: Place, namespace: str, local: bool) -> list[str]:
    """The URLs of a place. Raises NotMeasured when there is none."""
    if place.service is None:
        check(place.url or "", local)
        return [place.url or ""]
    labels = f"kubernetes.io/service-name={place.service}"
    listed = (await client.list(discovery_v1.EndpointSlice, namespace, labels=labels)).items
    urls = [
        f"http://{authority(endpoint.addresses[0], port.port)}{place.path}"
        for one in listed
        for port in one.ports
        if port.port and (not place.port_name or port.name == place.port_name)
        for endpoint in one.endpoints
        if endpoint.addresses and endpoint.conditions.ready is not False
    ]
    if not urls:
        raise NotMeasured(f"nothing is ready behind the Service {place.service}")
    return sorted(set(urls))


async def read_all(
    session: aiohttp.ClientSession, urls: list[str], metric: str
) -> dict[str, float]:
    """By URL. Raises NotMeasured when one of them gives no number."""
    counts = await asyncio.gather(*(read(session, url, metric) for url in urls))
    return dict(zip(urls, counts, strict=True))


async def clean(session: aiohttp.ClientSession, method: str, url: str) -> str:
    """Asks for test data to be taken away. Returns what is wrong, or nothing."""
    try:
        timeout = aiohttp.ClientTimeout(_PATIENCE)
        async with session.request(method, url, timeout=timeout, allow_redirects=False) as answer:
            if answer.status < 300 or answer.status == 404:
                return ""
            return f"{method} {url} answers {answer.status}"
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return f"{method} {url}: {_error_text(error)}"
