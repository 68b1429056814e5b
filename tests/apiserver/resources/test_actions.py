"""Evictions, bindings and requests for tokens, over objects in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.apiserver.resources.builders import NOW, Acting
from tests.builders import node, pod
from tiphys.api.authentication_v1 import TokenRequest
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Binding, Pod, PodStatus, Secret, ServiceAccount
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.policy_v1 import Eviction, PodDisruptionBudget
from tiphys.apiserver.resources.pods.binding import bind
from tiphys.apiserver.resources.pods.eviction import evict
from tiphys.apiserver.resources.serviceaccounts.token import issue
from tiphys.machinery.errors import StatusError


async def outcome(step: Any) -> tuple[int, str]:
    """(code, message); (0, "") when it went well."""
    try:
        await step
    except StatusError as error:
        return error.code, str(error)
    return 0, ""


# --- evictions ---

READY = {"type": "Ready", "status": "True"}


def running(phase: str = "Running", ready: bool = True, **metadata: Any) -> Pod:
    made = pod("p", nodeName="n", labels={"app": "web"})
    conditions = [READY] if ready else []
    made.status = from_builtins({"phase": phase, "conditions": conditions}, PodStatus)
    for name, value in {"uid": "u", "resource_version": "5", "generation": 3, **metadata}.items():
        setattr(made.metadata, name, value)
    return made


def budget(allowed: int = 1, healthy: int = 1, wanted: int = 1, name: str = "b", **more: Any) -> PodDisruptionBudget:  # fmt: skip
    status = {"disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": wanted}
    body = {
        "metadata": {"name": name, "namespace": "default", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **more.pop("spec", {})},
        "status": {**status, "observedGeneration": 2, **more},
    }
    return from_builtins(body, PodDisruptionBudget)  # type: ignore[no-any-return]


def evicting(**options: Any) -> Eviction:
    body = {"deleteOptions": options} if options else {}
    return from_builtins({"metadata": {"name": "p"}, **body}, Eviction)  # type: ignore[no-any-return]


OTHERS = {"selector": {"matchLabels": {"app": "db"}}}
ALWAYS = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}


@pytest.mark.parametrize(
    ("evicted", "budgets", "code", "spent"),
    [
        (running(), [], 0, False),
        (running(), [budget()], 0, True),
        (running(), [budget(0)], 429, False),
        (running(), [budget(0, spec=OTHERS)], 0, False),
        (running(), [budget(0, spec={"selector": None})], 0, False),
        (running(), [budget(observedGeneration=1)], 429, False),
        (running(), [budget(), budget(name="c")], 500, False),
        (running(), [budget(), budget(name="c", spec=OTHERS)], 0, True),
        (running("Pending"), [budget(0)], 0, False),
        (running("Succeeded"), [budget(0)], 0, False),
        (running("Failed"), [budget(0)], 0, False),
        (running(deletion_timestamp=NOW), [budget(0)], 0, False),
        # One that is not ready goes for nothing as long as enough others are healthy.
        (running(ready=False), [budget(0, healthy=1, wanted=1)], 0, False),
        (running(ready=False), [budget(0, healthy=0, wanted=1)], 429, False),
        (running(ready=False), [budget(0, healthy=0, wanted=0)], 429, False),
        (running(ready=False), [budget(1, healthy=0, wanted=1)], 0, True),
        (running(ready=False), [budget(0, healthy=0, wanted=1, spec=ALWAYS)], 0, False),
        (running(), [budget(0, spec=ALWAYS)], 429, False),
    ],
)  # fmt: skip
async def test_which_pods_can_be_evicted(
    evicted: Pod, budgets: list[PodDisruptionBudget], code: int, spent: bool
) -> None:
    context = Acting(evicted, *budgets, name="p")
    assert (await outcome(evict(evicting(), context)))[0] == code
    assert bool(context.deleted) == (code == 0)
    paid = [one for one in context.updated if isinstance(one, PodDisruptionBudget)]
    assert [one.status.disruptions_allowed for one in paid] == [0] * spent
    assert [one.status.disrupted_pods for one in paid] == [{"p": NOW}] * spent


async def test_a_budget_says_what_it_needs() -> None:
    context = Acting(running(), budget(0, healthy=1, wanted=2), name="p")
    with pytest.raises(StatusError) as error:
        await evict(evicting(), context)  # type: ignore[arg-type]
    details = error.value.status.details
    assert details is not None and details.retry_after_seconds == 0
    assert [(cause.reason, cause.message) for cause in details.causes] == [
        ("DisruptionBudget", "The disruption budget b needs 2 healthy pods and has 1 currently")
    ]


async def test_what_is_not_there_cannot_be_evicted() -> None:
    assert await outcome(evict(evicting(), Acting(name="p"))) == (404, 'pods "p" not found')


async def test_an_evicted_pod_says_why_it_goes() -> None:
    context = Acting(running(), name="p")
    await evict(evicting(), context)  # type: ignore[arg-type]
    [marked] = context.updated
    [condition] = [one for one in marked.status.conditions if one.type == "DisruptionTarget"]
    assert (condition.status, condition.reason) == ("True", "EvictionByEvictionAPI")
    assert (condition.observed_generation, condition.last_transition_time) == (3, NOW)
    again = Acting(marked, name="p")
    await evict(evicting(), again)  # type: ignore[arg-type]
    assert len(again.updated[0].status.conditions) == 2


@pytest.mark.parametrize(
    ("wanted", "marked", "version"),
    [
        ({"uid": "u"}, True, None),
        ({"uid": "v"}, False, None),
        ({"resourceVersion": "5"}, True, "77"),  # the mark made another version
        ({"resourceVersion": "4"}, False, "4"),
        ({"uid": "u", "resourceVersion": "5"}, True, "77"),
    ],
)
async def test_preconditions_of_an_eviction(
    wanted: dict[str, str], marked: bool, version: str | None
) -> None:
    context = Acting(running(), name="p")
    await evict(evicting(preconditions=wanted), context)  # type: ignore[arg-type]
    types = [condition.type for condition in context.updated[0].status.conditions]
    assert ("DisruptionTarget" in types) == marked
    [(_, options)] = context.deleted
    assert options.preconditions is not None
    assert options.preconditions.resource_version == version


async def test_a_dry_run_makes_no_other_version() -> None:
    context = Acting(running(), name="p", dry_run=True)
    await evict(evicting(preconditions={"resourceVersion": "5"}), context)  # type: ignore[arg-type]
    [(_, options)] = context.deleted
    assert options.preconditions is not None and options.preconditions.resource_version == "5"


# --- bindings ---


def binding(target: str = "m", **metadata: Any) -> Binding:
    meta = {"name": "p", **metadata}
    return from_builtins({"metadata": meta, "target": {"name": target}}, Binding)  # type: ignore[no-any-return]


async def test_a_bound_pod_is_scheduled() -> None:
    waiting = pod("p", labels={"a": "b"})
    gated = {"type": "PodScheduled", "status": "False"}
    waiting.status = from_builtins({"nominatedNodeName": "x", "conditions": [gated, READY]}, PodStatus)  # fmt: skip
    context = Acting(waiting)
    more = {"annotations": {"k": "v"}, "labels": {"c": "d"}}
    answer: Any = await bind(binding(**more), context)  # type: ignore[arg-type]
    [bound] = context.updated
    assert (answer.code, bound.spec.node_name, bound.status.nominated_node_name) == (201, "m", "")
    assert bound.metadata.annotations == {"k": "v"}
    assert bound.metadata.labels == {"a": "b", "c": "d"}
    conditions = {one.type: (one.status, one.last_transition_time) for one in bound.status.conditions}  # fmt: skip
    assert conditions == {"Ready": ("True", None), "PodScheduled": ("True", NOW)}
    assert waiting.spec.node_name == ""


@pytest.mark.parametrize(
    ("made", "existing", "code", "says"),
    [
        (binding(""), pod("p"), 422, "target.name: Required value"),
        (binding(), pod("q"), 404, 'pods "p" not found'),
        (binding(), running(deletion_timestamp=NOW), 409, "pod p is being deleted, cannot be assigned to a host"),
        (binding(), running(), 409, 'pod p is already assigned to node "n"'),
        (binding(uid="other"), pod("p"), 409, "Precondition failed: UID in precondition: other"),
    ],
)  # fmt: skip
async def test_what_cannot_be_bound(made: Binding, existing: Pod, code: int, says: str) -> None:
    got, text = await outcome(bind(made, Acting(existing)))  # type: ignore[arg-type]
    assert got == code and says in text


async def test_the_path_names_the_pod_before_the_binding_does() -> None:
    context = Acting(pod("p"), pod("q"), name="q")
    await bind(binding(), context)  # type: ignore[arg-type]
    assert [one.metadata.name for one in context.updated] == ["q"]


# --- tokens ---


class Tokens:
    """Signs nothing: shows what it was asked to."""

    issuer = "https://own"

    def __init__(self) -> None:
        self.asked: tuple[Any, ...] = ()

    def sign(self, *asked: Any) -> tuple[str, float]:
        self.asked = asked
        return "token", 1_767_225_600.0

    def credential_id(self, token: str) -> str:
        return f"JTI={token}"


def account(name: str = "robot", uid: str = "ru") -> ServiceAccount:
    return ServiceAccount(metadata=ObjectMeta(name=name, namespace="default", uid=uid))


def asking(bound: dict[str, str] | None = None, metadata: Any = None, **spec: Any) -> TokenRequest:
    body = {**spec, **({"boundObjectRef": {"apiVersion": "v1", **bound}} if bound else {})}
    return from_builtins({"metadata": metadata or {}, "spec": body}, TokenRequest)  # type: ignore[no-any-return]


def robots_pod(name: str = "mine", bound: str = "n", of: str = "robot") -> Pod:
    made = pod(name, nodeName=bound, serviceAccountName=of)
    made.metadata.uid = f"{name}-uid"
    return made


def existing() -> list[Any]:
    machine = node("n")
    machine.metadata.uid = "nu"
    secret = Secret(metadata=ObjectMeta(name="s", namespace="default", uid="su"))
    pods = [robots_pod(), robots_pod("other", of="else"), robots_pod("lost", "gone"), robots_pod("free", "")]  # fmt: skip
    return [account(), machine, secret, *pods]


async def issued(request: TokenRequest) -> tuple[Any, Tokens]:
    tokens = Tokens()
    context = Acting(*existing(), name="robot", authenticator=SimpleNamespace(tokens=tokens))
    return await issue(request, context), tokens  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "signed"),
    [
        (asking(), (3600, ["https://own"], None, {})),
        (asking(audiences=["a", "b"]), (3600, ["a", "b"], None, {})),
        (asking(expirationSeconds=600), (600, ["https://own"], None, {})),
        (asking(metadata={"name": "robot", "namespace": "default", "uid": "ru"}), (3600, ["https://own"], None, {})),
        (asking({"kind": "Secret", "name": "s"}), (3600, ["https://own"], ("Secret", "s", "su"), {})),
        (asking({"kind": "Node", "name": "n", "uid": "nu"}), (3600, ["https://own"], ("Node", "n", "nu"), {})),
        (asking({"kind": "Pod", "name": "mine"}), (3600, ["https://own"], ("Pod", "mine", "mine-uid"), {"node": {"name": "n", "uid": "nu"}})),
        (asking({"kind": "Pod", "name": "lost"}), (3600, ["https://own"], ("Pod", "lost", "lost-uid"), {})),
        (asking({"kind": "Pod", "name": "free"}), (3600, ["https://own"], ("Pod", "free", "free-uid"), {})),
    ],
)  # fmt: skip
async def test_what_a_token_is_signed_for(request_: TokenRequest, signed: tuple[Any, ...]) -> None:
    answer, tokens = await issued(request_)
    assert tokens.asked == ("default", "robot", "ru", *signed)
    assert (answer.status.token, answer.spec.expiration_seconds) == ("token", signed[0])
    assert answer.status.expiration_timestamp == NOW
    assert (answer.metadata.name, answer.metadata.uid) == ("robot", "ru")


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (asking(expirationSeconds=599), 422, "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"),
        (asking(expirationSeconds=0), 422, "spec.expirationSeconds"),
        (asking(metadata={"name": "other"}), 422, "metadata.name: Invalid value: \"other\": must match the service account name if specified"),
        (asking(metadata={"namespace": "other"}), 422, "metadata.namespace"),
        (asking(metadata={"uid": "other"}), 409, "the UID in the token request (other) does not match the UID of the service account (ru)"),
        (asking({"kind": "ConfigMap", "name": "x"}), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (asking({"kind": "Pod", "name": "x", "apiVersion": "a/v1"}), 400, "cannot bind token to object of type a/v1, Kind=Pod"),
        (asking({"kind": "Pod", "name": "gone"}), 404, 'pods "gone" not found'),
        (asking({"kind": "Secret", "name": "gone"}), 404, 'secrets "gone" not found'),
        (asking({"kind": "Pod", "name": "mine", "uid": "x"}), 409, "the UID in the bound object reference (x) does not match the UID in record"),
        (asking({"kind": "Pod", "name": "other"}), 400, 'cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.'),
    ],
)  # fmt: skip
async def test_which_tokens_are_not_issued(request_: TokenRequest, code: int, says: str) -> None:
    got, text = await outcome(issued(request_))
    assert got == code and says in text


async def test_an_account_that_is_missing_has_no_token() -> None:
    context = Acting(name="robot", authenticator=SimpleNamespace(tokens=Tokens()))
    assert await outcome(issue(asking(), context)) == (404, 'serviceaccounts "robot" not found')  # type: ignore[arg-type]
