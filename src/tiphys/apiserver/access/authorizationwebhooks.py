"""A webhook that decides what users may do: it is asked with a SubjectAccessReview, where match
conditions match, and its answers are cached for a while.

The caller does not wait: without a cached answer it gets an `Unanswered` question, which the
request awaits where it can, and then starts again. Equal questions are asked once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api.authorization_v1 import SubjectAccessReviewStatus
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorizers import NO_OPINION, AuthorizationMetrics, Decision
from tiphys.apiserver.eventloop.aside import Unanswered, aside
from tiphys.apiserver.http.request import LONG_SELECTOR, User
from tiphys.client.posting import Poster, PostError
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.cel import Budget, CelError
from tiphys.machinery.selectors import Selector, SelectorError, parse_fields, parse_labels

_MOST_KEPT = 8192  # answers, as upstream
_LONGEST_KEPT = 10_000  # characters of what a client may choose in a question whose answer is kept
_TRIES, _PAUSE, _FACTOR, _JITTER = 5, 0.5, 1.5, 0.2  # upstream's backoff
_BUDGET = 10_000_000  # units of CEL's cost that all conditions have together

# Decisions of this request: they hold for all of it, whatever the cache does meanwhile.
_request_decisions: ContextVar[dict[tuple[int, bytes], Decision] | None] = ContextVar(
    "told", default=None
)


@dataclass(frozen=True)
class WebhookSettings:
    """Times are in seconds; a time of 0 keeps no answers. `conditions` are CEL."""

    name: str
    version: str = "v1"
    authorized_ttl: float = 300.0
    unauthorized_ttl: float = 30.0
    denies_on_failure: bool = False
    conditions: tuple[str, ...] = ()


class _Review(msgspec.Struct):
    status: SubjectAccessReviewStatus


class AuthorizationWebhook:
    """One webhook of the chain."""

    def __init__(
        self,
        settings: WebhookSettings,
        poster: Poster,
        metrics: AuthorizationMetrics,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._poster = poster
        self._metrics = metrics
        self._now = now
        self._tasks = TaskGroup(f"authorization-{settings.name}")
        self._kept: OrderedDict[bytes, tuple[Decision, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Decision]] = {}

    async def close(self) -> None:
        await self._tasks.stop()
        await self._poster.close()

    def decide(self, user: User, asked: Asked) -> Decision:
        """The webhook's decision. Raises Unanswered."""
        spec = spec_of(user, asked)
        try:
            key = msgspec.json.encode(spec)
        except UnicodeEncodeError:  # bytes of a path that are no UTF-8
            return self._failed("the question is no text")
        decisions = _request_decisions.get()
        if decisions is not None and (decision := decisions.get((id(self), key))) is not None:
            return decision
        kept = self._kept.get(key)
        if kept is not None and self._now() < kept[1]:
            self._kept.move_to_end(key)
            return kept[0]

        async def ask() -> None:
            decision = await self._asked_once(key, spec, asked)
            answers = _request_decisions.get()
            if answers is None:
                answers = {}
                _request_decisions.set(answers)
            answers[id(self), key] = decision

        raise Unanswered(ask)

    def _failed(self, problem: str) -> Decision:
        return Decision(denied=self._settings.denies_on_failure, error=problem)

    async def _asked_once(self, key: bytes, spec: dict[str, Any], asked: Asked) -> Decision:
        task = self._asking.get(key)
        if task is None:
            task = self._tasks.start(self._evaluated(key, spec, asked), "question")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _evaluated(self, key: bytes, spec: dict[str, Any], asked: Asked) -> Decision:
        settings = self._settings
        try:
            if not await aside(matches, settings.conditions, spec):
                self._metrics.exclusions.labels("Webhook", settings.name).inc()
                self._keep(key, NO_OPINION, settings.authorized_ttl, asked)
                return NO_OPINION
        except CelError as error:
            self._metrics.condition_errors.labels("Webhook", settings.name).inc()
            return self._failed(str(error))
        try:
            status = await self._post(spec)
        except PostError as error:
            if not settings.denies_on_failure:
                result = "timeout" if error.is_timeout else "error"
                self._metrics.fail_open.labels(settings.name, result).inc()
            return self._failed(str(error))
        decision = _decision(status)
        ttl = settings.authorized_ttl if status.allowed else settings.unauthorized_ttl
        self._keep(key, decision, ttl, asked)
        return decision

    def _keep(self, key: bytes, decision: Decision, ttl: float, asked: Asked) -> None:
        chosen = (
            asked.namespace,
            asked.verb,
            asked.group,
            asked.version,
            asked.resource,
            asked.subresource,
            asked.name,
            asked.path,
        )
        if ttl <= 0 or sum(map(len, chosen)) >= _LONGEST_KEPT:
            return
        self._kept[key] = decision, self._now() + ttl
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    async def _post(self, spec: dict[str, Any]) -> SubjectAccessReviewStatus:
        """Raises PostError."""
        version = self._settings.version
        if version == "v1beta1" and "groups" in spec:
            spec = {("group" if name == "groups" else name): spec[name] for name in spec}
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": f"authorization.k8s.io/{version}",
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": {"allowed": False},
        }
        body = msgspec.json.encode(review)
        pause = _PAUSE
        for attempt in range(1, _TRIES + 1):
            began = time.perf_counter()
            try:
                answer = msgspec.json.decode(await self._poster.post(body), type=_Review)
                self._note("success", began)
                return answer.status
            except msgspec.DecodeError as error:
                self._note("error", began)
                raise PostError(f"the webhook's answer cannot be read: {error}") from None
            except PostError as error:
                self._note("timeout" if error.is_timeout else "error", began)
                if attempt == _TRIES or not error.is_transient:
                    raise
            await asyncio.sleep(pause * (1 + random.random() * _JITTER))
            pause *= _FACTOR
        raise AssertionError("unreachable")

    def _note(self, result: str, began: float) -> None:
        name = self._settings.name
        self._metrics.evaluations.labels(name, result).inc()
        self._metrics.durations.labels(name, result).observe(time.perf_counter() - began)


def _decision(status: SubjectAccessReviewStatus) -> Decision:
    if status.denied and status.allowed:
        problem = "webhook subject access review returned both allow and deny response"
        return Decision(denied=True, reason=status.reason, error=problem)
    return Decision(status.allowed, status.denied, status.reason)


def matches(conditions: tuple[str, ...], spec: dict[str, Any]) -> bool:
    """Whether all conditions hold. Raises CelError when none is false and one cannot be
    evaluated."""
    if not conditions:
        return True
    variables = {"request": _with_empty_fields(spec)}
    budget = Budget(_BUDGET)
    failures = []
    for expression in conditions:
        try:
            if budget.run(expression, variables) is not True:
                return False
        except CelError as error:
            failures.append(
                f"cel evaluation error: expression '{expression}' resulted in error: {error}"
            )
    if failures:
        raise CelError(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True


def _with_empty_fields(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec as conditions see it: with the fields that are empty."""
    seen = {"user": "", "groups": [], "uid": "", "extra": {}, **spec}
    if "resourceAttributes" in spec:
        names = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
        seen["resourceAttributes"] = {**dict.fromkeys(names, ""), **spec["resourceAttributes"]}
    return seen


# --- the question ---


def spec_of(user: User, asked: Asked) -> dict[str, Any]:
    """The spec of a SubjectAccessReview, without what is empty."""
    spec: dict[str, Any] = {}
    if asked.path:
        spec["nonResourceAttributes"] = {"path": asked.path, "verb": asked.verb}
    else:
        attributes = {
            "namespace": asked.namespace,
            "verb": asked.verb,
            "group": asked.group,
            "version": asked.version,
            "resource": asked.resource,
            "subresource": asked.subresource,
            "name": asked.name,
            "fieldSelector": _requirements(asked.fields, parse_fields),
            "labelSelector": _requirements(asked.labels, parse_labels),
        }
        spec["resourceAttributes"] = {name: value for name, value in attributes.items() if value}
    identity = {
        "user": user.name,
        "groups": list(user.groups),
        "extra": user.extra,
        "uid": user.uid,
    }
    return spec | {name: value for name, value in identity.items() if value}


_OPERATORS = {
    "=": "In",
    "in": "In",
    "!=": "NotIn",
    "notin": "NotIn",
    "exists": "Exists",
    "!": "DoesNotExist",
}


def _requirements(text: str, parse: Callable[[str], Selector]) -> dict[str, Any] | None:
    """A selector as a review has it. What a review cannot express, and what is too long to be read
    in passing, is left out, which asks for more, never for less."""
    if not text or len(text) > LONG_SELECTOR:
        return None
    try:
        selector = parse(text)
    except SelectorError:
        return None
    rows: list[dict[str, Any]] = []
    for requirement in selector.requirements:
        if requirement.operator in _OPERATORS:
            row: dict[str, Any] = {
                "key": requirement.key,
                "operator": _OPERATORS[requirement.operator],
            }
            rows.append(
                {**row, "values": sorted(requirement.values)} if requirement.values else row
            )
    return {"requirements": rows} if rows else None
