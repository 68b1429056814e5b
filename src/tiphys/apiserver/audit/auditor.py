"""Whom events go to, and what happens when they cannot."""

from __future__ import annotations

import asyncio
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from tiphys.apiserver.audit.events import ResponseStatus
from tiphys.apiserver.audit.policy import LEVELS, Level, Rules
from tiphys.apiserver.audit.records import LARGE, Line, Record
from tiphys.apiserver.http.request import Call, User
from tiphys.machinery import errors


class AuditMetrics:
    """By upstream's names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "apiserver_audit_event_total", "Events that were made.", registry=registry
        )
        self.errors = Counter(
            "apiserver_audit_error_total",
            "Events that a backend did not take, by backend.",
            ("plugin",),
            registry=registry,
        )
        levels = Counter(
            "apiserver_audit_level_total",
            "Requests by the level that the policy gives them.",
            ("level",),
            registry=registry,
        )
        self.levels = {level: levels.labels(name) for name, level in LEVELS.items()}
        self.rejected = Counter(
            "apiserver_audit_requests_rejected_total",
            "Requests that were refused because their events could not be stored.",
            registry=registry,
        )


class Backend(Protocol):
    """Takes events. `take` returns False when the request must not go on without it."""

    async def take(self, line: Line) -> bool: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...


class Auditor:
    """Starts the records of requests, and hands their events to the backends."""

    def __init__(self, rules: Rules, backends: list[Backend], metrics: AuditMetrics) -> None:
        self._rules = rules
        self._backends = backends
        self._metrics = metrics

    def start(self) -> None:
        for backend in self._backends:
            backend.start()

    async def stop(self) -> None:
        """What is still to be written is written first."""
        for backend in self._backends:
            await backend.stop()

    async def begin(self, call: Call, user: User, is_long: bool) -> Record | None:
        """The record of a request, None when its level is None. Raises 500
        when it must be stored and cannot be."""
        applied = self._rules.applied_to(user, call.info)
        self._metrics.levels[applied.level].inc()
        if applied.level is Level.NONE:
            return None
        record = Record(call, user, applied, is_long, self._emit)
        if not await record.received():
            self._metrics.rejected.inc()
            raise errors.internal("failed to store audit event")
        return record

    async def refuse(self, call: Call, attempted: list[str]) -> Record | None:
        """Audits a request whose authentication failed. `attempted`: the ways that were
        tried for that."""
        applied = self._rules.applied_to(None, call.info)
        self._metrics.levels[applied.level].inc()
        if applied.level is Level.NONE:
            return None
        record = Record(call, None, applied, True, self._emit)
        message = "Authentication failed, no credentials provided"
        if attempted:
            message = f"Authentication failed, attempted: {', '.join(attempted)}"
        record.status = ResponseStatus(message=message)
        await record.started(401)
        record.is_over = True
        return record

    async def _emit(self, record: Record, stage: str) -> bool:
        self._metrics.events.inc()
        if record.size > LARGE:
            line = await asyncio.to_thread(record.line, stage)
        else:
            line = record.line(stage)
        taken = True
        for backend in self._backends:
            taken = await backend.take(line) and taken
        return taken
