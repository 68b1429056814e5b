"""Orders, as the system itself counts them."""

from __future__ import annotations

import re

import aiohttp

_PATIENCE = 10.0  # seconds for an answer
_LARGEST = 4 << 20  # bytes of a page


class NotMeasured(RuntimeError):
    """The text says why there is no number."""


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
        raise NotMeasured(f"{url}: {error or 'no answer'}") from None


async def clean(session: aiohttp.ClientSession, method: str, url: str) -> str:
    """Asks for test data to be taken away. Returns what is wrong, or nothing."""
    try:
        timeout = aiohttp.ClientTimeout(_PATIENCE)
        async with session.request(method, url, timeout=timeout, allow_redirects=False) as answer:
            if answer.status < 300 or answer.status == 404:
                return ""
            return f"{method} {url} answers {answer.status}"
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return f"{method} {url}: {error or 'no answer'}"
