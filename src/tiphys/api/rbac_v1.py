"""Types of rbac.authorization.k8s.io/v1: names, tags, keys and defaults from the published API of
release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Struct, always, always_list, named
from tiphys.api.meta_v1 import LabelSelector, ListMeta, Object, TypeMeta


class AggregationRule(Struct):
    cluster_role_selectors: Annotated[list[LabelSelector], F(1, list="atomic")] = []


class ClusterRole(Object):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("ClusterRole")
    rules: Annotated[list[PolicyRule], F(2, list="atomic")] = always_list()
    aggregation_rule: Annotated[AggregationRule | None, F(3)] = None


class RoleRef(Struct):
    api_group: Annotated[str, F(1)] = always("")
    kind: Annotated[str, F(2, req=True)] = always("")
    name: Annotated[str, F(3, req=True)] = always("")


class ClusterRoleBinding(Object):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("ClusterRoleBinding")
    subjects: Annotated[list[Subject], F(2, list="atomic")] = []
    role_ref: Annotated[RoleRef, F(3, atomic=True, req=True)] = field(default_factory=RoleRef)


class ClusterRoleBindingList(TypeMeta):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("ClusterRoleBindingList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ClusterRoleBinding], F(2, req=True)] = always_list()


class ClusterRoleList(TypeMeta):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("ClusterRoleList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ClusterRole], F(2, req=True)] = always_list()


class PolicyRule(Struct):
    verbs: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    api_groups: Annotated[list[str], F(2, list="atomic")] = []
    resources: Annotated[list[str], F(3, list="atomic")] = []
    resource_names: Annotated[list[str], F(4, list="atomic")] = []
    non_resource_urls: Annotated[list[str], F(5, list="atomic")] = named(
        "nonResourceURLs", factory=list
    )


class Role(Object):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("Role")
    rules: Annotated[list[PolicyRule], F(2, list="atomic")] = always_list()


class RoleBinding(Object):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("RoleBinding")
    subjects: Annotated[list[Subject], F(2, list="atomic")] = []
    role_ref: Annotated[RoleRef, F(3, atomic=True, req=True)] = field(default_factory=RoleRef)


class RoleBindingList(TypeMeta):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("RoleBindingList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[RoleBinding], F(2, req=True)] = always_list()


class RoleList(TypeMeta):
    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("RoleList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Role], F(2, req=True)] = always_list()


class Subject(Struct):
    kind: Annotated[str, F(1, req=True)] = always("")
    api_group: Annotated[str, F(2)] = ""
    name: Annotated[str, F(3, req=True)] = always("")
    namespace: Annotated[str, F(4)] = ""
