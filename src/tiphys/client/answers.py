"""Responses of other servers, read with a limit: the server does not decide how much memory that
takes."""

from __future__ import annotations

import aiohttp


class TooLong(ValueError):
    """An answer has more bytes than was asked for."""


async def body_of(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body of an answer. Raises TooLong as soon as it has more than `most` bytes."""
    pieces = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > most:
            raise TooLong(f"the answer has more than {most} bytes")
        pieces.append(piece)
    return b"".join(pieces)
