"""The flow schemas and priority levels a cluster starts with, as upstream names and numbers them.

`fairness` keeps requests to them as they are in the store.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.flowcontrol_v1 import (
    ExemptPriorityLevelConfiguration,
    FlowDistinguisherMethod,
    FlowSchema,
    FlowSchemaSpec,
    GroupSubject,
    LimitedPriorityLevelConfiguration,
    LimitResponse,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationReference,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
    ResourcePolicyRule,
    ServiceAccountSubject,
    Subject,
    UserSubject,
)
from tiphys.api.meta_v1 import ObjectMeta

_NOTE = {"apf.kubernetes.io/autoupdate-spec": "true"}

# name, shares, percentage that may be lent, (queues, hand, length) or None: refuse at once
_LEVELS: tuple[tuple[str, int, int, tuple[int, int, int] | None], ...] = (
    ("node-high", 40, 25, (64, 6, 50)),
    ("system", 30, 33, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
    ("catch-all", 5, 0, None),
)


def priority_levels() -> list[PriorityLevelConfiguration]:
    exempt = PriorityLevelConfigurationSpec(type="Exempt")
    exempt.exempt = ExemptPriorityLevelConfiguration(
        nominal_concurrency_shares=0, lendable_percent=0
    )
    levels = [
        PriorityLevelConfiguration(
            metadata=ObjectMeta(name="exempt", annotations=dict(_NOTE)), spec=exempt
        )
    ]
    for name, shares, lendable, queue in _LEVELS:
        response = LimitResponse(type="Reject")
        if queue is not None:
            queuing = QueuingConfiguration(
                queues=queue[0], hand_size=queue[1], queue_length_limit=queue[2]
            )
            response = LimitResponse(type="Queue", queuing=queuing)
        limited = LimitedPriorityLevelConfiguration(
            nominal_concurrency_shares=shares, lendable_percent=lendable, limit_response=response
        )
        spec = PriorityLevelConfigurationSpec(type="Limited", limited=limited)
        metadata = ObjectMeta(name=name, annotations=dict(_NOTE))
        levels.append(PriorityLevelConfiguration(metadata=metadata, spec=spec))
    return levels


def _user(name: str) -> Subject:
    return Subject(kind="User", user=UserSubject(name=name))


def _group(name: str) -> Subject:
    return Subject(kind="Group", group=GroupSubject(name=name))


def _account(namespace: str, name: str) -> Subject:
    return Subject(
        kind="ServiceAccount", service_account=ServiceAccountSubject(namespace=namespace, name=name)
    )


_EVERYTHING = ResourcePolicyRule(
    verbs=["*"], api_groups=["*"], resources=["*"], cluster_scope=True, namespaces=["*"]
)
_URLS = NonResourcePolicyRule(verbs=["*"], non_resource_urls=["*"])
_LEASES = ResourcePolicyRule(
    verbs=["get", "create", "update"],
    api_groups=["coordination.k8s.io"],
    resources=["leases"],
    namespaces=["*"],
)
_SYSTEM_LEASES = ResourcePolicyRule(
    verbs=["get", "create", "update"],
    api_groups=["coordination.k8s.io"],
    resources=["leases"],
    namespaces=["kube-system"],
)
_NODE_STATUS = ResourcePolicyRule(
    verbs=["*"],
    api_groups=[""],
    resources=["nodes", "nodes/status"],
    cluster_scope=True,
    namespaces=["*"],
)
_NODE_LEASES = ResourcePolicyRule(
    verbs=["*"], api_groups=["coordination.k8s.io"], resources=["leases"], namespaces=["*"]
)
_ENDPOINTS = ResourcePolicyRule(
    verbs=["get", "create", "update"], api_groups=[""], resources=["endpoints"], namespaces=["*"]
)
_MANAGER, _SCHEDULER = _user("system:kube-controller-manager"), _user("system:kube-scheduler")
_ALL = (_group("system:unauthenticated"), _group("system:authenticated"))
_PROBES = NonResourcePolicyRule(verbs=["get"], non_resource_urls=["/healthz", "/readyz", "/livez"])

# name, precedence, level, how flows are distinguished, subjects, resource rules, other rules
_SCHEMAS: tuple[tuple[str, int, str, str, tuple[Subject, ...], list[Any], list[Any]], ...] = (
    ("exempt", 1, "exempt", "", (_group("system:masters"),), [_EVERYTHING], [_URLS]),
    ("probes", 2, "exempt", "", _ALL, [], [_PROBES]),
    (
        "system-leader-election",
        100,
        "leader-election",
        "ByUser",
        (_MANAGER, _SCHEDULER, _account("kube-system", "*")),
        [_SYSTEM_LEASES],
        [],
    ),
    (
        "endpoint-controller",
        150,
        "workload-high",
        "ByUser",
        (_MANAGER, _account("kube-system", "endpoint-controller")),
        [_ENDPOINTS],
        [],
    ),
    (
        "workload-leader-election",
        200,
        "leader-election",
        "ByUser",
        (_account("kube-system", "*"),),
        [_LEASES],
        [],
    ),
    (
        "system-node-high",
        400,
        "node-high",
        "ByUser",
        (_group("system:nodes"),),
        [_NODE_STATUS, _NODE_LEASES],
        [],
    ),
    ("system-nodes", 500, "system", "ByUser", (_group("system:nodes"),), [_EVERYTHING], [_URLS]),
    (
        "kube-controller-manager",
        800,
        "workload-high",
        "ByNamespace",
        (_MANAGER,),
        [_EVERYTHING],
        [_URLS],
    ),
    ("kube-scheduler", 800, "workload-high", "ByNamespace", (_SCHEDULER,), [_EVERYTHING], [_URLS]),
    (
        "kube-system-service-accounts",
        900,
        "workload-high",
        "ByNamespace",
        (_account("kube-system", "*"),),
        [_EVERYTHING],
        [_URLS],
    ),
    (
        "service-accounts",
        9000,
        "workload-low",
        "ByUser",
        (_group("system:serviceaccounts"),),
        [_EVERYTHING],
        [_URLS],
    ),
    ("global-default", 9900, "global-default", "ByUser", _ALL, [_EVERYTHING], [_URLS]),
    ("catch-all", 10000, "catch-all", "ByUser", _ALL, [_EVERYTHING], [_URLS]),
)


def flow_schemas() -> list[FlowSchema]:
    schemas = []
    for name, precedence, level, by, subjects, resources, others in _SCHEMAS:
        spec = FlowSchemaSpec(
            priority_level_configuration=PriorityLevelConfigurationReference(name=level),
            matching_precedence=precedence,
            distinguisher_method=FlowDistinguisherMethod(type=by) if by else None,
            rules=[
                PolicyRulesWithSubjects(
                    subjects=list(subjects), resource_rules=resources, non_resource_rules=others
                )
            ],
        )
        metadata = ObjectMeta(name=name, annotations=dict(_NOTE))
        schemas.append(FlowSchema(metadata=metadata, spec=spec))
    return schemas
