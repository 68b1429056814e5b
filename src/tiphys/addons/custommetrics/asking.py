"""Prometheus' HTTP API, as far as rules need it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import msgspec
import yarl

from tiphys.addons.reaching import HostResolver, Reach
from tiphys.client.answers import body_of
from tiphys.client.client import Client

_LONGEST = 16 << 20  # bytes of an answer: some 50,000 series
_LOCAL = ("localhost", "127.0.0.1", "::1")


class PrometheusError(Exception):
    """It does not answer, or refuses; the text is the reason."""


class Sample(NamedTuple):
    labels: Mapping[str, str]
    value: float
    """No number counts as nothing, as in the adapter."""


class Prometheus:
    """The user who enables the add-on sets the URL: this machine's loopback only if that is what
    the URL names, wherever a name may resolve. Redirects are not followed."""

    def __init__(self, client: Client, url: str, timeout: float) -> None:
        self._url = yarl.URL(url.rstrip("/"))
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise PrometheusError(f"prometheus: {url!r} is no URL of HTTP")
        reach = Reach(client, local=self._url.host in _LOCAL)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=HostResolver(reach), use_dns_cache=False, limit=8
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout),
        )

    async def close(self) -> None:
        await self._session.close()

    async def series(self, match: str, start: float) -> list[dict[str, str]]:
        """The labels of what matches and was there since `start` (seconds since the epoch). Raises
        PrometheusError."""
        data = await self._asked("series", {"match[]": match, "start": f"{start:.3f}"})
        try:
            return msgspec.convert(data, list[dict[str, str]])
        except msgspec.ValidationError as error:
            raise PrometheusError(f"unexpected answer: {error}") from None

    async def query(self, text: str, time: float) -> list[Sample]:
        """A vector at a time. Raises PrometheusError."""
        data = await self._asked("query", {"query": text, "time": f"{time:.3f}"})
        try:
            if data["resultType"] != "vector":
                raise PrometheusError(f"{text} is no vector")
            return [_sample(row) for row in data["result"]]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise PrometheusError(f"unexpected answer: {error}") from None

    async def _asked(self, endpoint: str, form: Mapping[str, str]) -> Any:
        """By POST: names of thousands of pods are longer than a URL may be."""
        url = self._url / "api/v1" / endpoint
        try:
            async with self._session.post(url, data=form, allow_redirects=False) as answer:
                document = msgspec.json.decode(await body_of(answer, _LONGEST))
        except TimeoutError:
            raise PrometheusError(f"{url}: no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "os_error", None) or error
            raise PrometheusError(f"{url}: {reason}") from None
        if not isinstance(document, dict) or document.get("status") != "success":
            reason = document.get("error") if isinstance(document, dict) else "unexpected answer"
            raise PrometheusError(f"{url}: {reason}")
        return document.get("data")


def _sample(row: Any) -> Sample:
    value = float(row["value"][1])
    labels = {str(key): str(text) for key, text in row["metric"].items()}
    return Sample(labels, value if math.isfinite(value) else 0.0)
