"""RBACEscalation: who writes roles and bindings gives away nothing that he has not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import JANE, attributes, refusal
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import OwnerReference
from tiphys.api.rbac_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission.rbac import RBACEscalation
from tiphys.apiserver.http.request import MASTERS, User

GROUP = "rbac.authorization.k8s.io"
READ = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}
WRITE = {"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}
ALL = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]


def role(name: str, *rules: dict[str, Any], namespace: str = "n") -> Role:
    meta = {"name": name, "namespace": namespace}
    return from_builtins({"metadata": meta, "rules": list(rules)}, Role)  # type: ignore[no-any-return]


def cluster_role(name: str, *rules: dict[str, Any], **more: Any) -> ClusterRole:
    return from_builtins({"metadata": {"name": name}, "rules": list(rules), **more}, ClusterRole)  # type: ignore[no-any-return]


def binding(ref: str, namespace: str = "n", subject: str = "jane") -> RoleBinding:
    kind, name = ref.split("/")
    body = {
        "metadata": {"name": f"{name}-{subject}", "namespace": namespace},
        "subjects": [{"kind": "User", "name": subject}],
        "roleRef": {"kind": kind, "name": name},
    }
    return from_builtins(body, RoleBinding)  # type: ignore[no-any-return]


def everywhere(name: str, subject: str = "jane") -> ClusterRoleBinding:
    body = {
        "metadata": {"name": f"{name}-{subject}"},
        "subjects": [{"kind": "User", "name": subject}],
        "roleRef": {"kind": "ClusterRole", "name": name},
    }
    return from_builtins(body, ClusterRoleBinding)  # type: ignore[no-any-return]


def may(verb: str, resource: str, *names: str) -> dict[str, Any]:
    return {"verbs": [verb], "apiGroups": [GROUP], "resources": [resource], "resourceNames": list(names)}  # fmt: skip


async def answer(made: Any, *existing: Any, old: Any = None, user: User = JANE) -> str:
    held = stored(*existing)
    authorizer = Authorizer(held)
    plugin = RBACEscalation(lambda: authorizer)
    write = attributes("UPDATE" if old else "CREATE", made, old, user=user)
    return await refusal(plugin.validate(write))


HERE = (role("reader", READ), binding("Role/reader"))
ANYWHERE = (cluster_role("reader", READ), everywhere("reader"))
AGGREGATED: dict[str, Any] = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "existing", "allowed"),
    [
        (role("new"), (), True),
        (role("new", READ), (), False),
        (role("new", READ), HERE, True),
        (role("new", READ), ANYWHERE, True),
        (role("new", READ, namespace="m"), HERE, False),
        (role("new", WRITE), HERE, False),
        (role("new", READ, WRITE), HERE, False),
        (cluster_role("new", READ), HERE, False),
        (cluster_role("new", READ), ANYWHERE, True),
        (role("new", WRITE), (role("e", may("escalate", "roles")), binding("Role/e")), True),
        (role("new", WRITE), (role("e", may("escalate", "roles", "new")), binding("Role/e")), False),
        (role("new", WRITE), (role("e", may("escalate", "clusterroles")), binding("Role/e")), False),
        (cluster_role("new", **AGGREGATED), ANYWHERE, False),
        (cluster_role("new", aggregationRule={"clusterRoleSelectors": []}), (), True),
        (cluster_role("new", **AGGREGATED), (cluster_role("all", *ALL), everywhere("all")), True),
        (cluster_role("new", **AGGREGATED), (cluster_role("all", ALL[1]), everywhere("all")), False),
        (cluster_role("new", **AGGREGATED), (cluster_role("e", may("escalate", "clusterroles")), everywhere("e")), True),
        # --- bindings ---
        (binding("Role/reader", subject="joe"), HERE, True),
        (binding("Role/reader", subject="joe"), HERE[:1], False),
        (binding("ClusterRole/reader", subject="joe"), ANYWHERE, True),
        (binding("Role/reader", subject="joe"), (*HERE[:1], role("b", may("bind", "roles", "reader")), binding("Role/b")), True),
        (binding("Role/reader", subject="joe"), (*HERE[:1], role("b", may("bind", "roles", "other")), binding("Role/b")), False),
        (binding("Role/reader", subject="joe"), (*HERE[:1], role("b", may("bind", "clusterroles")), binding("Role/b")), False),
        (everywhere("reader", "joe"), ANYWHERE, True),
        (everywhere("reader", "joe"), (ANYWHERE[0], *HERE), False),
    ],
)  # fmt: skip
async def test_what_is_given_away_is_owned(made: Any, existing: Any, allowed: bool) -> None:
    said = await answer(made, *existing)
    assert (said == "") == allowed, said
    assert await answer(made, *existing, user=User("root", (MASTERS,))) == ""


async def test_a_refusal_lists_what_is_missing_once() -> None:
    said = await answer(role("new", READ, WRITE, WRITE), *HERE)
    assert said == (
        'roles.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["devs", '
        '"system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'
    )
    paths = {"verbs": ["get"], "nonResourceURLs": ["/x"]}
    said = await answer(cluster_role("new", paths))
    assert said.endswith('\n{NonResourceURLs:["/x"], Verbs:["get"]}')


async def test_a_role_that_is_missing_could_become_anything() -> None:
    said = await answer(binding("Role/gone", subject="joe"))
    assert said == 'roles.rbac.authorization.k8s.io "gone" not found'
    said = await answer(binding("ClusterRole/gone", subject="joe"))
    assert said == 'clusterroles.rbac.authorization.k8s.io "gone" not found'
    bind = (role("b", may("bind", "roles", "gone")), binding("Role/b"))
    assert await answer(binding("Role/gone", subject="joe"), *bind) == ""


async def test_what_gives_nobody_anything_may_change() -> None:
    old, new = role("new", WRITE), role("new", WRITE)
    new.metadata.owner_references = [OwnerReference(name="x")]
    new.metadata.finalizers = ["a.b/c"]
    new.metadata.resource_version = "7"
    assert await answer(new, old=old) == ""
    new.metadata.labels = {"a": "b"}
    assert "not currently held" in await answer(new, old=old)
    assert new.metadata.finalizers == ["a.b/c"]


async def test_who_may_escalate_a_role_by_its_name_may_change_it() -> None:
    rights = (role("e", may("escalate", "roles", "new")), binding("Role/e"))
    assert await answer(role("new", WRITE), *rights, old=role("new")) == ""
    assert "not currently held" in await answer(role("other", WRITE), *rights, old=role("other"))


async def test_a_role_that_aggregated_before_is_as_one_that_will() -> None:
    old = cluster_role("new", **AGGREGATED)
    said = await answer(cluster_role("new"), *ANYWHERE, old=old)
    assert "must have cluster-admin privileges to use the aggregationRule" in said
