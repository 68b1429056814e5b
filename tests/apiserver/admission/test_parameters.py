"""PolicyParameters: nobody reads by a policy what he may not. Refusals in the words of upstream's
authz.go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import Rights, attributes, refusal, registry_of
from tiphys.api.admissionregistration_v1 import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from tiphys.api.base import from_builtins
from tiphys.apiserver.admission.parameters import PolicyParameters
from tiphys.apiserver.http.request import MASTERS, User

MAPS = {"apiVersion": "v1", "kind": "ConfigMap"}
SETS = {"apiVersion": "apps/v1", "kind": "ReplicaSet"}


def policy(kind: dict[str, str] | None = None, name: str = "p") -> ValidatingAdmissionPolicy:
    spec = {"paramKind": kind} if kind else {}
    return from_builtins({"metadata": {"name": name}, "spec": spec}, ValidatingAdmissionPolicy)  # type: ignore[no-any-return]


def binding(
    ref: dict[str, Any] | None = None, of: str = "p", **spec: Any
) -> ValidatingAdmissionPolicyBinding:
    body = {"policyName": of, **({"paramRef": ref} if ref else {}), **spec}
    return from_builtins({"metadata": {"name": "b"}, "spec": body}, ValidatingAdmissionPolicyBinding)  # type: ignore[no-any-return]  # fmt: skip


async def answer(made: Any, *existing: Any, rights: Any = (), old: Any = None, **more: Any) -> tuple[str, list[str]]:  # fmt: skip
    """(the refusal, what was asked)."""
    authorizer = Rights(*rights)
    registry = registry_of(stored(*existing))
    plugin = PolicyParameters(lambda: registry, lambda: authorizer)  # type: ignore[arg-type,return-value]
    write = attributes(more.pop("operation", "UPDATE" if old else "CREATE"), made, old, **more)
    return await refusal(plugin.validate(write)), authorizer.asked


@pytest.mark.parametrize(
    ("made", "old", "asked"),
    [
        (policy(), None, []),
        (policy(MAPS), None, ["jane: get /configmaps */*"]),
        (policy(SETS), None, ["jane: get apps/replicasets */*"]),
        (policy({"apiVersion": "a.b/v1", "kind": "Other"}), None, ["jane: get a.b/* */*"]),
        (policy(MAPS), policy(MAPS), []),
        (policy(MAPS), policy(SETS), ["jane: get /configmaps */*"]),
        (policy(MAPS), policy(), ["jane: get /configmaps */*"]),
        (policy(), policy(MAPS), []),
    ],
)
async def test_a_policy_asks_for_all_of_its_parameters(
    made: Any, old: Any, asked: list[str]
) -> None:
    said, questions = await answer(made, old=old)
    assert questions == asked and bool(said) == bool(asked)
    assert await answer(made, old=old, rights=["get *"]) == ("", asked)


async def test_a_refused_policy_names_its_kind() -> None:
    said, _ = await answer(policy(MAPS))
    assert said == (
        'ValidatingAdmissionPolicy.admissionregistration.k8s.io "p" is invalid: spec.paramKind: '
        'Forbidden: user jane must have "get" permission on all objects of the referenced '
        "paramKind (kind=ConfigMap, apiVersion=v1)"
    )


NAMED = {"name": "c", "namespace": "n"}
CHOSEN = {"selector": {}, "namespace": "n"}


@pytest.mark.parametrize(
    ("made", "old", "asked"),
    [
        (binding(), None, []),
        (binding(NAMED), None, ["jane: get /configmaps n/c"]),
        (binding(CHOSEN), None, ["jane: list /configmaps n/"]),
        (binding(NAMED), binding(NAMED), []),
        (binding(NAMED), binding(CHOSEN), ["jane: get /configmaps n/c"]),
        (binding(NAMED), binding(NAMED, of="q"), ["jane: get /configmaps n/c"]),
        (binding(NAMED, of="bare"), None, ["jane: get */* n/c"]),
        (binding(NAMED, of="gone"), None, ["jane: get */* n/c"]),
    ],
)
async def test_a_binding_asks_for_the_parameters_it_names(
    made: Any, old: Any, asked: list[str]
) -> None:
    policies = (policy(MAPS), policy(name="bare"))
    said, questions = await answer(made, *policies, old=old)
    assert questions == asked and bool(said) == bool(asked)
    assert await answer(made, *policies, old=old, rights=["get *", "list *"]) == ("", asked)


async def test_a_refused_binding_says_what_is_missing() -> None:
    said, _ = await answer(binding(NAMED), policy(MAPS))
    assert said.endswith(
        'spec.paramRef: Forbidden: user jane does not have "get" permission on the object '
        "referenced by paramRef"
    )
    said, _ = await answer(binding(CHOSEN, of="gone"))
    assert said.endswith(
        "spec.paramRef: Forbidden: unable to get policy gone to determine minimum required "
        'permissions and user jane does not have "list" permission for all groups, versions and '
        "resources"
    )


async def test_who_is_not_asked() -> None:
    assert await answer(policy(MAPS), user=User("root", (MASTERS,))) == ("", [])
    assert await answer(policy(MAPS), operation="DELETE") == ("", [])
    gone = attributes("UPDATE", None, policy(MAPS))
    plugin = PolicyParameters(lambda: None, lambda: Rights())  # type: ignore[arg-type,return-value]
    assert await refusal(plugin.validate(gone)) == ""
