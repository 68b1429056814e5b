"""Wraps a server that is audited: however a request ends, its record is completed."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tiphys.apiserver.audit.records import Record
from tiphys.apiserver.http.serving import Answering


class Audited:
    """Answers as `server` does, and completes the record that it started, if there is one."""

    def __init__(self, server: Answering) -> None:
        self._server = server

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._server.handle(request)
        except BaseException:
            record = _record_of(request)
            if record is not None:
                await asyncio.shield(record.completed())
            raise
        record = _record_of(request)
        if record is not None:
            await _answered(record, response)
        return response


def _record_of(request: web.BaseRequest) -> Record | None:
    record: Record | None = request.record  # type: ignore[attr-defined]
    return record


async def _answered(record: Record, response: web.StreamResponse) -> None:
    if record.is_over:
        return
    body = response.body if isinstance(response, web.Response) else None
    if isinstance(body, bytes) and body and response.content_type == "application/json":
        record.answers(body)
    if not record.is_started:
        await record.started(response.status)
    await record.completed()
