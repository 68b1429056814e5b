"""Decisions of webhooks and chains without a network: what is kept, for how long, and what a failure
means."""

from __future__ import annotations

import asyncio
import contextvars
import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import JANE
from tests.apiserver.tables import each_row
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.authorizationwebhooks import AuthorizationWebhook, WebhookSettings
from tiphys.apiserver.access.authorizers import (
    NO_OPINION,
    Always,
    AuthorizationMetrics,
    Chain,
    Decision,
    Named,
    Rules,
)
from tiphys.apiserver.access.tokenwebhooks import TokenWebhook, WebhookRefusal
from tiphys.apiserver.eventloop.aside import answered
from tiphys.apiserver.http.request import MASTERS, User
from tiphys.client.posting import PostError

LIST = Asked("list", "", "pods")


def metrics() -> AuthorizationMetrics:
    return AuthorizationMetrics(CollectorRegistry())


class Posted:
    """A server that answers with what is set, and notes what it was sent."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.bodies: list[Any] = []

    async def post(self, body: bytes) -> bytes:
        self.bodies.append(json.loads(body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, bytes) else json.dumps({"status": self.answer}).encode()  # fmt: skip

    async def close(self) -> None: ...


class Webhook:
    """An authorization webhook, with a clock."""

    def __init__(self, answer: Any, **settings: Any) -> None:
        self.clock = 0.0
        self.server = Posted(answer)
        one = WebhookSettings("hook", **settings)
        self._webhook = AuthorizationWebhook(one, self.server, metrics(), lambda: self.clock)  # type: ignore[arg-type]

    async def decide(self, asked: Asked = LIST, user: User = JANE) -> Decision:
        """As a request of its own does."""
        step = asyncio.create_task(answered(self._webhook.decide, user, asked), context=contextvars.Context())  # fmt: skip
        return await step


YES, NO, NOTHING = {"allowed": True}, {"denied": True, "reason": "r"}, {}
AWAY = PostError("away")


@pytest.mark.parametrize(
    ("answer", "settings", "decision"),
    [
        (YES, {}, Decision(allowed=True)),
        (NO, {}, Decision(denied=True, reason="r")),
        (NOTHING, {}, NO_OPINION),
        (AWAY, {}, Decision(error="away")),
        (AWAY, {"denies_on_failure": True}, Decision(denied=True, error="away")),
        (b"x", {}, None),
        (YES, {"conditions": ("request.user == 'joe'",)}, NO_OPINION),
        (YES, {"conditions": ("request.user == 'jane'",)}, Decision(allowed=True)),
        (YES, {"conditions": ("request.x == 1",), "denies_on_failure": True}, None),
    ],
)
async def test_what_a_webhook_decides(
    answer: Any, settings: Any, decision: Decision | None
) -> None:
    got = await Webhook(answer, **settings).decide()
    if decision is None:
        assert not got.allowed and got.denied == bool(settings) and got.error
    else:
        assert got == decision


@pytest.mark.parametrize(
    ("answer", "settings", "later", "asked"),
    [
        (YES, {}, 299.9, 1),
        (YES, {}, 300.0, 2),
        (NO, {}, 29.9, 1),
        (NO, {}, 30.0, 2),
        (NOTHING, {}, 30.0, 2),
        (YES, {"authorized_ttl": 0.0}, 0.0, 2),
        (NO, {"unauthorized_ttl": 0.0}, 0.0, 2),
        (YES, {"unauthorized_ttl": 0.0}, 10.0, 1),
        (AWAY, {}, 0.0, 2),
    ],
)
async def test_how_long_an_answer_is_kept(answer: Any, settings: Any, later: float, asked: int) -> None:  # fmt: skip
    webhook = Webhook(answer, **settings)
    await webhook.decide()
    webhook.clock = later
    await webhook.decide()
    assert len(webhook.server.bodies) == asked


@pytest.mark.parametrize(("length", "asked"), [(9_999, 1), (10_000, 2)])
async def test_a_long_question_is_not_kept(length: int, asked: int) -> None:
    """Of what a client may choose; the verb counts as well."""
    webhook = Webhook(YES)
    long = Asked("get", name="x" * (length - 3))
    await webhook.decide(long)
    await webhook.decide(long)
    assert len(webhook.server.bodies) == asked


async def test_of_very_many_answers_the_oldest_goes() -> None:
    webhook = Webhook(YES)
    for number in range(8193):
        webhook._webhook._keep(b"%d" % number, NO_OPINION, 300.0, LIST)
    kept = webhook._webhook._kept
    assert len(kept) == 8192 and b"0" not in kept and b"1" in kept


async def test_equal_questions_at_a_time_are_one() -> None:
    webhook = Webhook(YES, authorized_ttl=0.0)
    await asyncio.gather(*[webhook.decide() for _ in range(3)], webhook.decide(Asked("get")))
    assert len(webhook.server.bodies) == 2


@pytest.mark.parametrize(("version", "name"), [("v1", "groups"), ("v1beta1", "group")])
async def test_what_is_sent(version: str, name: str) -> None:
    webhook = Webhook(YES, version=version)
    await webhook.decide()
    [body] = webhook.server.bodies
    assert body["apiVersion"] == f"authorization.k8s.io/{version}"
    assert body["spec"][name] == list(JANE.groups)


async def test_a_path_that_is_no_text_is_not_asked_about() -> None:
    webhook = Webhook(YES, denies_on_failure=True)
    got = await webhook.decide(Asked("get", path="/\udcff"))
    assert got.denied and got.error == "the question is no text" and webhook.server.bodies == []


# --- what metrics say ---


def counted(registry: CollectorRegistry) -> dict[str, float]:
    """The counters that are not zero: ``name label,label``."""
    samples = [one for family in registry.collect() for one in family.samples]
    return {
        f"{one.name.removeprefix('apiserver_authorization_')} {','.join(one.labels.values())}": one.value
        for one in samples
        if one.name.endswith("_total") and one.value
    }


@pytest.mark.parametrize(
    ("decision", "counter"),
    [
        (Decision(allowed=True), {"decisions_total RBAC,r,allowed": 1.0}),
        (Decision(denied=True), {"decisions_total RBAC,r,denied": 1.0}),
        (NO_OPINION, {}),
    ],
)
def test_who_decided_is_counted(decision: Decision, counter: dict[str, float]) -> None:
    registry = CollectorRegistry()
    Chain([Named("RBAC", "r", Always(decision))], AuthorizationMetrics(registry)).decide(JANE, LIST)
    assert counted(registry) == counter


LATE = PostError("late")
LATE.is_timeout = True
EVALUATED, OPEN = "webhook_evaluations_total hook", "webhook_evaluations_fail_open_total hook"


@pytest.mark.parametrize(
    ("answer", "settings", "counters"),
    [
        (YES, {}, {f"{EVALUATED},success": 1.0}),
        (AWAY, {}, {f"{EVALUATED},error": 1.0, f"{OPEN},error": 1.0}),
        (LATE, {}, {f"{EVALUATED},timeout": 1.0, f"{OPEN},timeout": 1.0}),
        (AWAY, {"denies_on_failure": True}, {f"{EVALUATED},error": 1.0}),
        (b"x", {"denies_on_failure": True}, {f"{EVALUATED},error": 1.0}),
        (YES, {"conditions": ("false",)}, {"match_condition_exclusions_total Webhook,hook": 1.0}),
        (YES, {"conditions": ("request.x",)}, {"match_condition_evaluation_errors_total Webhook,hook": 1.0}),
    ],
)  # fmt: skip
async def test_what_became_of_a_question_is_counted(
    answer: Any, settings: Any, counters: dict[str, float]
) -> None:
    registry = CollectorRegistry()
    one = WebhookSettings("hook", **settings)
    webhook = AuthorizationWebhook(one, Posted(answer), AuthorizationMetrics(registry))  # type: ignore[arg-type]
    await answered(webhook.decide, JANE, LIST)
    assert counted(registry) == counters


# --- chains ---


def steps(*decisions: Decision) -> Chain:
    return Chain([Named("Webhook", f"w{n}", Always(one)) for n, one in enumerate(decisions)], metrics())  # fmt: skip


@each_row(
    [
        ((), NO_OPINION),
        ((NO_OPINION, NO_OPINION), NO_OPINION),
        ((Decision(allowed=True, reason="a"), Decision(denied=True)), Decision(allowed=True, reason="a")),
        ((Decision(denied=True), Decision(allowed=True)), Decision(denied=True)),
        ((Decision(reason="x"), Decision(allowed=True)), Decision(allowed=True)),
        ((Decision(reason="x"), Decision(reason="y")), Decision(reason="x\ny")),
        ((Decision(error="e"), NO_OPINION), Decision(error="e")),
        ((Decision(error="e"), Decision(error="f", reason="r")), Decision(reason="r", error="[e, f]")),
    ],
)  # fmt: skip
def test_the_first_who_has_an_opinion_decides(decisions: Any, decision: Decision) -> None:
    assert steps(*decisions).decide(JANE, LIST) == decision


@pytest.mark.parametrize(
    ("said", "decision"),
    [
        ((True, "r"), Decision(allowed=True, reason="r")),
        ((False, ""), NO_OPINION),
        ((False, "r"), Decision(reason="r")),
    ],
)
def test_rules_never_deny(said: tuple[bool, str], decision: Decision) -> None:
    assert Rules(lambda user, asked: said).decide(JANE, LIST) == decision


NODE = User("system:node:n", ("system:nodes",))


def configured(*kinds: str) -> Authorizer:
    made = Authorizer(stored())
    if kinds:
        made.chain = Chain([Named(kind, kind.lower(), Always(NO_OPINION)) for kind in kinds], metrics())  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("authorizer", "user", "unknown"),
    [
        (configured(), JANE, []),
        (configured(), NODE, ["node"]),
        (configured(), User("system:node:n"), []),
        (configured(), User("n", ("system:nodes",)), []),
        (configured("RBAC"), NODE, []),
        (configured("Webhook", "RBAC"), JANE, ["webhook"]),
        (configured("Node", "Webhook"), NODE, ["node", "webhook"]),
    ],
)
def test_what_is_not_known_of_rights(
    authorizer: Authorizer, user: User, unknown: list[str]
) -> None:
    assert [text.split()[0] for text in authorizer.unknown_rules(user)] == unknown


def test_a_chain_decides_for_everybody_but_masters() -> None:
    authorizer = configured()
    authorizer.chain = steps(Decision(denied=True, reason="no"))
    master = User("root", (MASTERS,))
    assert authorizer.authorize(JANE, LIST) == (False, "no")
    assert authorizer.decide(JANE, LIST) == Decision(denied=True, reason="no")
    assert authorizer.authorize(master, LIST) == (True, "")
    assert authorizer.decide(master, LIST).allowed
    assert authorizer.deciding_groups() is None and authorizer.grants(JANE) == []


# --- webhooks that know tokens ---


def knowing(answer: Any, version: str = "v1", ttl: float = 120.0) -> tuple[TokenWebhook, Posted]:
    webhook = TokenWebhook.__new__(TokenWebhook)
    server = Posted(answer)
    webhook._poster = server  # type: ignore[assignment]
    webhook._version, webhook._ttl, webhook._audiences = version, ttl, ["own"]
    webhook._now = lambda: 0.0
    webhook._kept = {}
    return webhook, server


def known(**parts: Any) -> dict[str, Any]:
    return {"authenticated": True, "user": {"username": "u", **parts.pop("user", {})}, **parts}


@pytest.mark.parametrize(
    ("answer", "audiences", "outcome"),
    [
        (known(), ["own"], (User("u"), ["own"])),
        (known(), ["other"], "the token is for others"),
        (known(audiences=["other", "own"]), ["own", "third"], (User("u"), ["own"])),
        (known(audiences=["other"]), ["own"], "the token is for others"),
        (known(user={"groups": ["g"], "uid": "7", "extra": {"k": ["v"]}}), ["own"], (User("u", ("g",), "7", {"k": ["v"]}), ["own"])),
        (known(user={"username": ""}), ["own"], "the webhook names no user"),
        ({"authenticated": True}, ["own"], "the webhook names no user"),
        ({"authenticated": False}, ["own"], "the token is not known"),
        ({"authenticated": False, "error": "why"}, ["own"], "why"),
        (PostError("away"), ["own"], "away"),
        (b"x", ["own"], "the webhook's answer cannot be read"),
    ],
)  # fmt: skip
async def test_whose_a_token_is(answer: Any, audiences: list[str], outcome: Any) -> None:
    webhook, _ = knowing(answer)
    if isinstance(outcome, str):
        with pytest.raises(WebhookRefusal, match=outcome):
            await webhook.user("t", audiences)
    else:
        assert await webhook.user("t", audiences) == outcome


@pytest.mark.parametrize(
    ("version", "audiences", "sent"),
    [
        ("v1", ["own"], ["own"]),
        ("v1beta1", ["own"], None),
        ("v1beta1", ["own", "b"], ["own", "b"]),
    ],
)
async def test_audiences_that_are_sent(version: str, audiences: list[str], sent: Any) -> None:
    webhook, server = knowing(known(), version)
    await webhook.user("t", audiences)
    assert server.bodies[0]["spec"].get("audiences") == sent
    assert server.bodies[0]["apiVersion"] == f"authentication.k8s.io/{version}"


@pytest.mark.parametrize(("ttl", "later", "asked"), [(120.0, 119.9, 1), (120.0, 120.0, 2), (0.0, 0.0, 2)])  # fmt: skip
async def test_how_long_a_user_is_believed(ttl: float, later: float, asked: int) -> None:
    webhook, server = knowing(known(), ttl=ttl)
    await webhook.user("t", ["own"])
    webhook._now = lambda: later
    await webhook.user("t", ["own"])
    assert len(server.bodies) == asked
    await webhook.user("other", ["own"])
    assert len(server.bodies) == asked + 1


async def test_a_token_that_is_no_text_is_not_sent() -> None:
    webhook, server = knowing(known())
    with pytest.raises(WebhookRefusal, match="the token is no text"):
        await webhook.user("\udcff", ["own"])
    assert server.bodies == []
