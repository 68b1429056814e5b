"""Answers that do not say which software made them, in which version, as upstream's do not.

aiohttp names itself and Python, and has no option for that: it adds the header at the very end, but
for answers that have one already, such as those of servers behind a proxy. So it is taken away as
the head is written, by all servers of a process.
"""

from __future__ import annotations

from aiohttp import hdrs, web_protocol
from aiohttp.http import SERVER_SOFTWARE, StreamWriter
from multidict import CIMultiDict


class _Writer(StreamWriter):
    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        if headers.get(hdrs.SERVER) is SERVER_SOFTWARE:  # not another server's equal one
            del headers[hdrs.SERVER]
        await super().write_headers(status_line, headers)


def leave_servers_unnamed() -> None:
    """From here on no server of this process says what it is made of."""
    web_protocol.StreamWriter = _Writer  # type: ignore[attr-defined]
