"""Triggers without anything to ask: what they are asked for and what answers is up to a test."""

from __future__ import annotations

import json
from typing import Any

from tiphys.addons.keda import triggers
from tiphys.addons.keda.parameters import Given
from tiphys.addons.keda.scaler import Config, Scaler, ScalerError, Surroundings, make

assert triggers  # whose modules put the types on the list


def made(
    kind: str, metadata: dict[str, str], auth: dict[str, str] | None = None, **more: Any
) -> Any:
    """A trigger of that type. Raises ScalerError."""
    nobody: Any = None
    around = Surroundings(nobody, nobody, lambda: 0.0)
    given = Given(metadata, auth or {})
    return make(Config(kind, given, around, namespace="ns", owner="w", **more))


def problem(
    kind: str, metadata: dict[str, str], auth: dict[str, str] | None = None, **more: Any
) -> str:
    """What is wrong with a trigger, "" if nothing is."""
    try:
        made(kind, metadata, auth, **more)
    except ScalerError as error:
        return str(error)
    return ""


class Web:
    """Answers requests by the part of the URL that it knows, and keeps them."""

    def __init__(self, scaler: Scaler, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        scaler._sent = self._sent  # type: ignore[attr-defined]

    async def _sent(
        self, method: str, url: Any, body: bytes | None, headers: dict[str, str]
    ) -> Any:
        self.asked.append((method, str(url), body and json.loads(body), headers))
        known = [answer for part, answer in self.answers.items() if part in str(url)]
        if not known:
            raise ValueError(f"nobody answers {url}")
        answer = known[0]
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        text = content if isinstance(content, str) else json.dumps(content)
        return status, text.encode()


async def fails(work: Any) -> str:
    try:
        await work
    except ScalerError as error:
        return str(error)
    raise AssertionError("it did not fail")
