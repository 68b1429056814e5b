"""Flow schemas and priority levels: upstream's flowcontrol/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import built, fields, wrong_with
from tests.apiserver.tables import each_row
from tiphys.api.base import to_builtins

GROUP = "flowcontrol.apiserver.k8s.io"
LEVEL = f"prioritylevelconfigurations.{GROUP}"
SCHEMA = f"flowschemas.{GROUP}"
EXEMPT = {"metadata": {"name": "exempt"}}


def limited(response: Any = None, **parts: Any) -> dict[str, Any]:
    answer = response or {"type": "Reject", "queuing": None}
    return {"spec": {"type": "Limited", "limited": {"limitResponse": answer, **parts}}}


def queuing(**parts: Any) -> dict[str, Any]:
    return limited({"type": "Queue", "queuing": parts})


def exempt(**parts: Any) -> dict[str, Any]:
    return {**EXEMPT, "spec": {"type": "Exempt", "limited": None, "exempt": parts}}


RESPONSE = "spec.limited.limitResponse"


@each_row(
    [
        (limited(), []),
        (limited(nominalConcurrencyShares=0, lendablePercent=0, borrowingLimitPercent=0), []),
        (limited(lendablePercent=100), []),
        (limited(nominalConcurrencyShares=-1), ["spec.limited.nominalConcurrencyShares"]),
        (limited(lendablePercent=-1), ["spec.limited.lendablePercent"]),
        (limited(lendablePercent=101), ["spec.limited.lendablePercent"]),
        (limited(borrowingLimitPercent=-1), ["spec.limited.borrowingLimitPercent"]),
        (limited({"type": "Reject"}), [f"{RESPONSE}.queuing"]),
        (limited({"type": "Queue", "queuing": None}), [f"{RESPONSE}.queuing"]),
        (limited({"type": "", "queuing": None}), [f"{RESPONSE}.type"]),
        (limited({"type": "Drop", "queuing": None}), [f"{RESPONSE}.type"]),
        (queuing(queues=1, handSize=1, queueLengthLimit=1), []),
        (queuing(queues=8, handSize=8), []),
        (queuing(queues=7, handSize=8), [f"{RESPONSE}.queuing.handSize"]),
        (queuing(queues=10_000_000), []),
        (queuing(queues=10_000_001), [f"{RESPONSE}.queuing.queues"]),
        (queuing(queues=-1, handSize=-1), [f"{RESPONSE}.queuing.queues", f"{RESPONSE}.queuing.handSize"]),
        (queuing(queueLengthLimit=-1), [f"{RESPONSE}.queuing.queueLengthLimit"]),
        ({"spec": {"type": "Limited", "limited": None}}, ["spec.limited"]),
        ({"spec": {"type": "Limited", "exempt": {}}}, ["spec.exempt"]),
        ({"spec": {"type": "Other"}}, ["spec.type"]),
        (exempt(), []),
        (exempt(nominalConcurrencyShares=-1), ["spec.exempt.nominalConcurrencyShares"]),
        (exempt(lendablePercent=101), ["spec.exempt.lendablePercent"]),
        ({**EXEMPT, "spec": {"type": "Exempt"}}, ["spec.limited"]),
        ({**exempt(), "metadata": {"name": "other"}}, ["spec.type"]),
        ({**limited(), **EXEMPT}, ["spec.type"]),
    ],
)  # fmt: skip
def test_levels(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(LEVEL, parts)) == wrong


def test_what_a_level_does_not_say() -> None:
    spec = to_builtins(built(SERVED[LEVEL], queuing()).spec)["limited"]
    usual = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
    assert spec["limitResponse"]["queuing"] == usual
    assert (spec["nominalConcurrencyShares"], spec["lendablePercent"]) == (30, 0)
    said = limited(nominalConcurrencyShares=0, lendablePercent=7)
    spec = to_builtins(built(SERVED[LEVEL], said).spec)["limited"]
    assert (spec["nominalConcurrencyShares"], spec["lendablePercent"]) == (0, 7)
    own = {"queues": 2, "handSize": 1, "queueLengthLimit": 3}
    spec = to_builtins(built(SERVED[LEVEL], queuing(**own)).spec)["limited"]
    assert spec["limitResponse"]["queuing"] == own
    shares = to_builtins(built(SERVED[LEVEL], exempt()).spec)["exempt"]
    assert shares == {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    shares = to_builtins(built(SERVED[LEVEL], exempt(nominalConcurrencyShares=5, lendablePercent=6)).spec)["exempt"]  # fmt: skip
    assert shares == {"nominalConcurrencyShares": 5, "lendablePercent": 6}


# --- schemas ---

EVERYBODY = [{"kind": "Group", "group": {"name": "*"}}]
PATHS = {"verbs": ["*"], "nonResourceURLs": ["*"]}
RESOURCES = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}


def about(**rules: Any) -> dict[str, Any]:
    return {"spec": {"rules": [{"subjects": EVERYBODY, **rules}]}}


def paths(*urls: str, verbs: tuple[str, ...] = ("get",)) -> dict[str, Any]:
    return about(nonResourceRules=[{"verbs": list(verbs), "nonResourceURLs": list(urls)}])


def resources(**parts: Any) -> dict[str, Any]:
    return about(resourceRules=[{**RESOURCES, **parts}])


def subject(kind: str, **parts: Any) -> dict[str, Any]:
    return about(subjects=[{"kind": kind, **parts}], nonResourceRules=[PATHS])


def account(namespace: str = "n", name: str = "a") -> dict[str, Any]:
    return subject("ServiceAccount", serviceAccount={"namespace": namespace, "name": name})


URLS = ".nonResourceRules[0].nonResourceURLs"
RULE = ".resourceRules[0]"
WHO = ".subjects[0]"


@each_row(
    [
        (about(), [""]),
        (about(subjects=[], nonResourceRules=[PATHS]), [".subjects"]),
        # --- paths ---
        (paths("/"), []),
        (paths("/healthz", "/api/*", "*"), [URLS]),
        (paths("*"), []),
        (paths("/api/*"), []),
        (paths(), [URLS]),
        (paths(""), [f"{URLS}[0]"]),
        (paths("/a", "b"), [f"{URLS}[1]"]),
        (paths("/a b"), [f"{URLS}[0]"]),
        (paths("/a//b"), [f"{URLS}[0]"]),
        (paths("/a/*/b"), [f"{URLS}[0]"]),
        (paths("/a*"), [f"{URLS}[0]"]),
        (paths("/a", verbs=("get", "post")), []),
        (paths("/a", verbs=("*",)), []),
        (paths("/a", verbs=()), [".nonResourceRules[0].verbs"]),
        (paths("/a", verbs=("get", "*")), [".nonResourceRules[0].verbs"]),
        (paths("/a", verbs=("fetch",)), [".nonResourceRules[0].verbs"]),
        # --- resources ---
        (resources(), []),
        (resources(verbs=[]), [f"{RULE}.verbs"]),
        (resources(verbs=["get", "*"]), [f"{RULE}.verbs"]),
        (resources(apiGroups=[]), [f"{RULE}.apiGroups"]),
        (resources(apiGroups=["", "*"]), [f"{RULE}.apiGroups"]),
        (resources(resources=[]), [f"{RULE}.resources"]),
        (resources(resources=["pods", "*"]), [f"{RULE}.resources"]),
        (resources(namespaces=[]), [f"{RULE}.namespaces"]),
        (resources(namespaces=[], clusterScope=True), []),
        (resources(namespaces=["a", "b"], clusterScope=True), []),
        (resources(namespaces=["a", "*"]), [f"{RULE}.namespaces"]),
        (resources(namespaces=["a", "B"]), [f"{RULE}.namespaces[1]"]),
        # --- subjects ---
        (subject("User", user={"name": "u"}), []),
        (subject("User", user={"name": ""}), [f"{WHO}.user.name"]),
        (subject("User"), [f"{WHO}.user"]),
        (subject("User", user={"name": "u"}, group={"name": "g"}), [f"{WHO}.group"]),
        (subject("Group", group={"name": ""}), [f"{WHO}.group.name"]),
        (subject("Group", user={"name": "u"}), [f"{WHO}.user", f"{WHO}.group"]),
        (subject("Robot"), [f"{WHO}.kind"]),
        (account(), []),
        (account(name="*"), []),
        (account(name=""), [f"{WHO}.serviceAccount.name"]),
        (account(name="A"), [f"{WHO}.serviceAccount.name"]),
        (account("", "a"), [f"{WHO}.serviceAccount.namespace"]),
        (account("N", "a"), [f"{WHO}.serviceAccount.namespace"]),
        (account("*", "a"), [f"{WHO}.serviceAccount.namespace"]),
    ],
)
def test_schemas(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(SCHEMA, parts)) == [f"spec.rules[0]{end}" for end in wrong]
