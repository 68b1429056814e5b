"""Speaks with the agents in the pods: one short request at a time, bounded in time and size."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import aiohttp
import msgspec

from tiphys.addons.training.observation import AgentReport, Member
from tiphys.addons.training.protocol import ProtocolError, read_status, stop_body
from tiphys.machinery.addresses import authority

log = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=5.0, connect=2.0)
_LARGEST = 256 << 10  # bytes of an answer
_AT_ONCE = 64
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ProtocolError)


class Agents:
    """A context manager; `port` is the agents'."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Agents:
        connector = aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, trust_env=False, auto_decompress=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, addresses: Iterable[str]) -> dict[str, AgentReport | None]:
        """What the agents at those addresses say; None for one that does not answer."""
        distinct = sorted(set(addresses))
        reports = await asyncio.gather(*(self._status(address) for address in distinct))
        return dict(zip(distinct, reports, strict=True))

    async def start(self, member: Member, body: dict[str, object]) -> bool:
        return await self._command(member, "start", body)

    async def stop(self, member: Member, grace: int) -> bool:
        return await self._command(member, "stop", stop_body(grace))

    async def shut_down(self, member: Member) -> bool:
        return await self._command(member, "shutdown", {})

    async def _status(self, address: str) -> AgentReport | None:
        try:
            return read_status(await self._request("GET", address, "status"))
        except _FAILURES as error:
            log.debug("the agent at %s did not answer: %s", address, error)
            return None

    async def _command(self, member: Member, path: str, body: dict[str, object]) -> bool:
        """Whether the agent took it. One that did not is retried at the next reconcile."""
        try:
            await self._request("POST", member.address, path, msgspec.json.encode(body))
        except _FAILURES as error:
            log.warning("pod %s: /%s was not taken: %s", member.name, path, error)
            return False
        return True

    async def _request(
        self, method: str, address: str, path: str, body: bytes | None = None
    ) -> bytes:
        """Raises one of _FAILURES."""
        url = f"http://{authority(address, self._port)}/{path}"
        headers = {"Content-Type": "application/json"} if body is not None else {}
        async with (
            self._turn,
            self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            content = await _bounded(answer)
            if answer.status != 200:
                raise ProtocolError(f"{answer.status} {content[:200].decode(errors='replace')}")
            return content


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """Raises ProtocolError for what is too large to be an agent's."""
    content = bytearray()
    async for chunk in answer.content.iter_chunked(64 << 10):
        content += chunk
        if len(content) > _LARGEST:
            raise ProtocolError(f"the answer has more than {_LARGEST} bytes")
    return bytes(content)
