"""NodeClaims: made of what was planned, and what machines do for one. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tiphys.addons._cloud.catalog import Catalog
from tiphys.addons._cloud.quantities import quantity
from tiphys.addons._cloud.sandboxes import HOLLOW, RUNTIME
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.offers import Option, of_machines
from tiphys.addons.karpenter.planning import NewNode
from tiphys.addons.karpenter.requirements import hold, wanted_by
from tiphys.addons.karpenter.types import NodeClaim, NodePool, Requirement, TiphysNodeClass
from tiphys.addons.karpenter.types.parts import NodeClassReference, ResourceRequests
from tiphys.api.base import Struct
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.footprint import units
from tiphys.operator.reconcile import owner_reference

CLASS_LABEL = f"{names.OWN_GROUP}/tiphysnodeclass"
_KNOWN = (names.ZONE, names.CAPACITY_TYPE, names.INSTANCE_TYPE)


def pool_hash(pool: NodePool) -> str:
    """Of everything in the template but requirements: nodes of another hash have drifted. Lists
    are taken for sets (upstream's `NodePool.Hash`)."""
    text = json.dumps(_as_sets(pool.spec.template), sort_keys=True)
    return str(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))


def _as_sets(value: object) -> object:
    """Plain data without what is empty. Defaults are included: whether an encoder omits one
    depends on which string of equal ones it is."""
    if isinstance(value, Struct):
        names_ = (name for name in value.__struct_fields__ if name != "requirements")
        return _as_sets({name: getattr(value, name) for name in names_})
    if isinstance(value, dict):
        converted = {key: _as_sets(each) for key, each in value.items()}
        return {key: each for key, each in converted.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return sorted((_as_sets(each) for each in value), key=str)
    return value


def claim_of(new: NewNode) -> NodeClaim:
    """The claim for a planned node; the server completes its name."""
    pool = new.offer.pool
    template = pool.spec.template
    labels = {**new.offer.labels, **_own(new.pinned)}
    labels[CLASS_LABEL] = template.spec.node_class_ref.name
    claim = NodeClaim(
        metadata=ObjectMeta(
            generate_name=f"{pool.name}-",
            labels=labels,
            annotations=_annotations(new),
            owner_references=[owner_reference(pool)],
            finalizers=[names.TERMINATION],
        )
    )
    claim.metadata.owner_references[0].controller = None
    spec = claim.spec
    reference = template.spec.node_class_ref
    spec.node_class_ref = NodeClassReference(
        group=reference.group, kind=reference.kind, name=reference.name
    )
    spec.requirements = requirements_of(new)
    spec.resources = ResourceRequests(
        requests={name: quantity(name, amount) for name, amount in new.requests.items()}
    )
    spec.taints = list(template.spec.taints)
    spec.startup_taints = list(template.spec.startup_taints)
    spec.expire_after = template.spec.expire_after
    spec.termination_grace_period = template.spec.termination_grace_period
    return claim


def _annotations(new: NewNode) -> dict[str, str]:
    pool = new.offer.pool
    annotations = {
        **pool.spec.template.metadata.annotations,
        names.POOL_HASH: pool_hash(pool),
        names.POOL_HASH_VERSION: names.HASH_VERSION,
    }
    if not pool.is_static:
        annotations[names.MIN_VALUES_RELAXED] = str(new.is_relaxed).lower()
    return annotations


def _own(pinned: dict[str, str]) -> dict[str, str]:
    """Labels of the user's own: those of machines come when there is one."""
    return {
        key: value
        for key, value in pinned.items()
        if key not in _KNOWN and not key.startswith(("cloud.tiphys.dev/", "kubernetes.io/"))
    }


def requirements_of(new: NewNode) -> list[Requirement]:
    """The pool's, narrowed to what is left to choose from. Zones are left as the pool has them,
    unless pods depend on one: where a machine can be had is found out when it is launched."""
    template = new.offer.pool.spec.template.spec.requirements
    least = new.least
    narrowed: dict[str, list[str]] = {
        names.INSTANCE_TYPE: list(dict.fromkeys(type_.name for type_, _ in new.options)),
        names.CAPACITY_TYPE: sorted({offering.capacity_type for _, offering in new.options}),
        names.NODE_POOL: [new.offer.name],
    }
    selected = {**new.choices, **{key: [value] for key, value in new.pinned.items()}}
    narrowed.update({key: values for key, values in selected.items() if key not in narrowed})
    kept = [
        Requirement(
            key=r.key,
            operator=r.operator,
            values=list(r.values),
            min_values=r.min_values and min(r.min_values, least[r.key]),
        )
        for r in template
        if r.key not in narrowed
    ]
    return [
        *kept,
        *(
            Requirement(key=key, operator="In", values=values, min_values=least.get(key))
            for key, values in narrowed.items()
        ),
    ]


def options_for(claim: NodeClaim, class_: TiphysNodeClass, catalog: Catalog) -> list[Option]:
    """Machines of a class that do for a claim, the cheapest first."""
    needed = {name: units(name, v) for name, v in claim.spec.resources.requests.items()}
    wanted = wanted_by(claim.spec.requirements)
    options: list[Option] = []
    for type_ in catalog.types:
        if any(type_.allocatable.get(name, 0) < amount for name, amount in needed.items()):
            continue
        of_machine = of_machines(wanted, type_)
        for offering in type_.offerings:
            labels = type_.labels_of(offering, catalog.region)
            if is_allowed(class_, (type_, offering)) and hold(of_machine, labels):
                options.append((type_, offering))
    return sorted(options, key=lambda one: (one[1].price, one[0].name, one[1].zone))


def _suits(wanted: Sequence[str], labels: object, fact: str) -> bool:
    assert hasattr(labels, "get")
    return not wanted or labels.get(f"cloud.tiphys.dev/{fact}") in wanted


def is_allowed(class_: TiphysNodeClass, option: Option) -> bool:
    """Whether a class has machines of that zone and family, and they can be had."""
    type_, offering = option
    if class_.spec.zones and offering.zone not in class_.spec.zones:
        return False
    if not _suits(class_.spec.instance_families, type_.labels, "instance-family"):
        return False
    facts = (type_.name, offering.zone, offering.capacity_type)
    return not any(is_meant(rule, facts) for rule in class_.spec.unavailable)


def is_meant(rule: str, facts: Sequence[str]) -> bool:
    """Whether ``TYPE/ZONE/CAPACITY-TYPE``, with ``*`` for any, means an offering."""
    parts = rule.split("/")
    return len(parts) == len(facts) and all(
        part in ("*", fact) for part, fact in zip(parts, facts, strict=True)
    )


def drift_of(claim: NodeClaim, pool: NodePool, class_: TiphysNodeClass | None, image: str) -> str:
    """Why a claim is not what its pool or class specifies now, as a reason; "" if it is. `image` is
    what new machines get."""
    annotations = claim.metadata.annotations
    same_version = annotations.get(names.POOL_HASH_VERSION) == names.HASH_VERSION
    if same_version and annotations.get(names.POOL_HASH) != pool_hash(pool):
        return "NodePoolDrifted"
    labels = claim.metadata.labels
    if not hold(wanted_by(pool.spec.template.spec.requirements), labels):
        return "RequirementsDrifted"
    if class_ is None:
        return ""
    if image and claim.status.image_id != image:
        return "ImageDrifted"
    if class_.spec.runtime != labels.get(RUNTIME, HOLLOW):
        return "NodeClassDrifted"
    if class_.spec.zones and labels.get(names.ZONE) not in class_.spec.zones:
        return "NodeClassDrifted"
    if not _suits(class_.spec.instance_families, labels, "instance-family"):
        return "NodeClassDrifted"
    return ""
