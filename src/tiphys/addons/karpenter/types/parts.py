"""What NodePools and NodeClaims have in common. Limits and formats are in the schema alone: what a
reader meets in a cluster with an older or newer definition, it judges itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from tiphys.api.base import F, Quantity, Struct, Time
from tiphys.operator import Rule

_LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\/))?"
    r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
)
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
LIFETIME = r"^(([0-9]+(s|m|h))+|Never)$"
PERIOD = r"^([0-9]+(s|m|h))+$"
NEVER = "Never"

IN = "requirements with operator 'In' must have a value defined"
_NUMBER = (
    "requirements operator 'Gt', 'Lt', 'Gte', or 'Lte' must have a single positive integer value"
)
_LEAST = (
    "requirements with 'minValues' must have at least that many values specified in the 'values' "
    "field"
)
COMPARES = " || ".join(f"x.operator == '{name}'" for name in ("Gt", "Lt", "Gte", "Lte"))


def schema(**facts: object) -> Meta:
    """Facts for the generated schema that do not limit what is read."""
    return Meta(extra_json_schema=facts)


_RESTRICTED = (
    Rule(
        'self in ["karpenter.sh/capacity-type", "karpenter.sh/nodepool"] || '
        '!self.find("^([^/]+)").endsWith("karpenter.sh")',
        message='label domain "karpenter.sh" is restricted',
    ),
    Rule(
        'self != "kubernetes.io/hostname"',
        message='label "kubernetes.io/hostname" is restricted',
    ),
)
_NO_POOL = Rule(
    'self != "karpenter.sh/nodepool"', message='label "karpenter.sh/nodepool" is restricted'
)


class LabelRequirement(Struct):
    """What a label must be."""

    key: Annotated[
        str,
        F(1, req=True),
        Meta(description="The label's key."),
        schema(max_length=316, pattern=_LABEL_KEY),
        *_RESTRICTED,
    ] = ""
    operator: Annotated[
        str,
        F(2, req=True),
        Meta(description="How the label relates to the values."),
        schema(enum=["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"]),
    ] = ""
    values: Annotated[
        list[str],
        F(3, list="atomic"),
        Meta(description="The values; one number for Gt, Lt, Gte and Lte."),
        schema(max_length=63, pattern=LABEL_VALUE),
    ] = []


class Requirement(LabelRequirement):
    """What a label of a node must be."""

    min_values: Annotated[
        int | None,
        Meta(description="How many values of the label must be left to choose from."),
        schema(minimum=1, maximum=50, format=""),
    ] = None


class PoolRequirement(Requirement):
    """What a label of a pool's nodes must be. Which pool they are of, they know."""

    key: Annotated[
        str,
        F(1, req=True),
        Meta(description="The label's key."),
        schema(max_length=316, pattern=_LABEL_KEY),
        *_RESTRICTED,
        _NO_POOL,
    ] = ""


_LIST_FACTS = (
    F(4, list="atomic", req=True),
    Meta(description="What the labels of the node must be."),
    schema(max_items=100),
    Rule("self.all(x, x.operator == 'In' ? x.values.size() != 0 : true)", message=IN),
    Rule(
        f"self.all(x, ({COMPARES}) ? (x.values.size() == 1 && int(x.values[0]) >= 0) : true)",
        message=_NUMBER,
    ),
    Rule(
        "self.all(x, (x.operator == 'In' && has(x.minValues)) ? "
        "x.values.size() >= x.minValues : true)",
        message=_LEAST,
    ),
)
Requirements = Annotated[list[Requirement], *_LIST_FACTS]
PoolRequirements = Annotated[list[PoolRequirement], *_LIST_FACTS]


class Taint(Struct):
    """Repels pods that do not tolerate it."""

    key: Annotated[str, F(1, req=True), schema(min_length=1, pattern=_LABEL_KEY)] = ""
    value: Annotated[str, schema(pattern=_LABEL_KEY)] = ""
    effect: Annotated[
        str, F(3, req=True), schema(enum=["NoSchedule", "PreferNoSchedule", "NoExecute"])
    ] = ""
    time_added: Time | None = None


Taints = Annotated[
    list[Taint], F(5, list="atomic"), Meta(description="What pods on the node must tolerate.")
]
StartupTaints = Annotated[
    list[Taint],
    F(6, list="atomic"),
    Meta(description="Taints of a new node that something removes soon: pods need not tolerate."),
]


def _filled(name: str) -> Rule:
    return Rule("self != ''", message=f"{name} may not be empty")


class NodeClassReference(Struct):
    """The object that says how machines are made."""

    group: Annotated[str, F(1, req=True), schema(pattern="^[^/]*$"), _filled("group")] = ""
    kind: Annotated[str, F(2, req=True), _filled("kind")] = ""
    name: Annotated[str, F(3, req=True), _filled("name")] = ""


class PoolNodeClassReference(NodeClassReference):
    """The object that says how machines are made. Another kind of machine is another pool."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.group == oldSelf.group", message="nodeClassRef.group is immutable"),
        Rule("self.kind == oldSelf.kind", message="nodeClassRef.kind is immutable"),
    )


ExpireAfter = Annotated[
    str,
    Meta(description="How long a node lives, or Never."),
    schema(pattern=LIFETIME),
]
TerminationGracePeriod = Annotated[
    str,
    Meta(description="How long a node is drained before what is left on it is ended by force."),
    schema(pattern=PERIOD),
]


class ResourceRequests(Struct):
    """What the pods that a node is made for ask for."""

    requests: dict[str, Quantity] = field(default_factory=dict)
