"""What webhooks and policies have in common: which requests they are about, and what CEL sees of a
request."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.base import to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import LabelSelector
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.celauthorizer import AuthorizerValue
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.registry import conversion
from tiphys.machinery.cel import Budget, CelError, OutOfBudget
from tiphys.machinery.selectors import from_label_selector

# Policies and webhooks are not asked about themselves: a bad one could not be removed any more.
EXEMPT = "admissionregistration.k8s.io"


def _fits(values: list[str], value: str) -> bool:
    return "*" in values or value in values


def rule_matches(
    rule: Any, attributes: Attributes, resource: Resource, ignore_names: bool = False
) -> bool:
    """Whether a rule (with operations) is about the request, seen as one of `resource`."""
    if not _fits(rule.operations, attributes.operation):
        return False
    if not _fits(rule.api_groups, resource.group) or not _fits(rule.api_versions, resource.version):
        return False
    if rule.scope == "Namespaced" and not resource.namespaced:
        return False
    if rule.scope == "Cluster" and resource.namespaced:
        return False
    names = getattr(rule, "resource_names", None)
    if names and attributes.name not in names and not ignore_names:
        return False
    return any(
        _names_resource(pattern, resource.plural, attributes.subresource)
        for pattern in rule.resources
    )


def _names_resource(pattern: str, plural: str, subresource: str) -> bool:
    wanted, _, sub = pattern.partition("/")
    return wanted in ("*", plural) and sub in ("*", subresource)


def matching_resource(
    rules: Iterable[Any],
    attributes: Attributes,
    policy: str | None,
    equivalents: Callable[[Resource], list[Resource]],
) -> Resource | None:
    """The resource as which the rules see the request: the requested one, or an equivalent version
    of it; None: no match."""
    rules = list(rules)
    requested = attributes.asked_as
    if any(rule_matches(rule, attributes, requested) for rule in rules):
        return requested
    if policy == "Exact":
        return None
    for other in equivalents(requested):
        if any(rule_matches(rule, attributes, other) for rule in rules):
            return other
    return None


def selects_namespace(
    selector: LabelSelector | None, attributes: Attributes, labels_of: Callable[[str], Any]
) -> bool:
    """Whether the request's namespace, or the namespace that it is about, has the labels."""
    chosen = from_label_selector(selector)
    if chosen is None or not chosen.requirements:
        return True
    if attributes.resource.group_resource == "namespaces":
        obj = attributes.obj if attributes.obj is not None else attributes.old
        return obj is None or chosen.matches(obj.metadata.labels)
    if not attributes.resource.namespaced:
        return True
    return chosen.matches(labels_of(attributes.namespace) or {})


def selects_object(selector: LabelSelector | None, attributes: Attributes) -> bool:
    """Whether the object, as it is or as it was, has the labels."""
    chosen = from_label_selector(selector)
    if chosen is None or not chosen.requirements:
        return True
    for obj in (attributes.obj, attributes.old):
        metadata = getattr(obj, "metadata", None)
        if metadata is not None and chosen.matches(metadata.labels):
            return True
    return False


@dataclass
class Seen:
    """A request as webhooks and CEL see it: plain data, made once."""

    attributes: Attributes
    authorizer: Authorizer
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    _kept: dict[str, Any] = field(default_factory=dict)

    def plain(self, which: str) -> Any:
        """The object (`obj`) or what it was before (`old`), plain."""
        value = getattr(self.attributes, which)
        if which not in self._kept or self._kept[which][0] is not value:
            self._kept[which] = (value, to_builtins(value) if value is not None else None)
        return self._kept[which][1]

    def request(self, resource: Resource | None = None) -> dict[str, Any]:
        """The AdmissionRequest without its objects; `resource` is the one it was matched as."""
        a = self.attributes
        own = a.asked_as
        matched = resource or own
        user: dict[str, Any] = {"username": a.user.name, "groups": list(a.user.groups)}
        if a.user.uid:
            user["uid"] = a.user.uid
        if a.user.extra:
            user["extra"] = a.user.extra
        request: dict[str, Any] = {
            "uid": self.uid,
            "kind": _gvk(matched, a),
            "resource": _gvr(matched),
            "requestKind": _gvk(own, a),
            "requestResource": _gvr(own),
            "name": a.name,
            "operation": a.operation,
            "userInfo": user,
            "dryRun": a.dry_run,
            "options": _options(a),
        }
        if a.namespace or own.group_resource == "namespaces":
            request["namespace"] = a.namespace if own.group_resource != "namespaces" else a.name
        if a.subresource:
            request["subResource"] = a.subresource
            request["requestSubResource"] = a.subresource
        return request

    def variables(self, resource: Resource | None = None) -> dict[str, Any]:
        """What match conditions and policies may name."""
        a = self.attributes
        return {
            "object": copy.copy(self.in_version(resource, self.plain("obj"))),
            "oldObject": self.in_version(resource, self.plain("old")),
            "request": self.request(resource),
            "authorizer": AuthorizerValue(self.authorizer, a.user, a),
        }

    def in_version(self, resource: Resource | None, plain: Any) -> Any:
        """An object of a built-in resource in the version that it was matched as."""
        a = self.attributes
        if plain is None or resource is None or not resource.built_in or a.kind:
            return plain
        return conversion.in_version(resource, plain)


class Rounds:
    """Which webhooks, or policies, have seen an object, and which are to see it once more because
    it changed since: only those that asked for it (`reinvocationPolicy: IfNeeded`), and at most
    once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._due: set[str] = set()
        self._left: Any = None

    @classmethod
    def of(cls, attributes: Attributes, who: Any, obj: Any) -> Rounds:
        """Those of a write for one plugin; `obj` is the object as the plugin finds it, plain."""
        rounds: Rounds | None = attributes.notes.get(who)
        if rounds is None:
            rounds = attributes.notes[who] = cls()
        elif attributes.second and obj != rounds._left:  # a built-in plugin changed it
            rounds._again()
        return rounds

    def wanted(self, attributes: Attributes, name: str) -> bool:
        return not attributes.second or name in self._due

    def done(self, attributes: Attributes, name: str, again: str | None, changed: bool) -> None:
        """`name` has seen the object; `again` is its reinvocation policy."""
        if changed:
            self._again()
            attributes.changed = True
        if again == "IfNeeded":
            self._seen.add(name)

    def left(self, obj: Any) -> None:
        """The object as the plugin leaves it, plain."""
        self._left = obj

    def _again(self) -> None:
        self._due |= self._seen
        self._seen.clear()


def _gvk(resource: Resource, a: Attributes) -> dict[str, str]:
    if a.kind:
        api_version, _, kind = a.kind.rpartition("/")
        group, _, version = api_version.rpartition("/")
        return {"group": group, "version": version, "kind": kind}
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _gvr(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


_OPTIONS = {
    "CREATE": "CreateOptions",
    "UPDATE": "UpdateOptions",
    "DELETE": "DeleteOptions",
    "CONNECT": "",
}


def _options(a: Attributes) -> dict[str, Any] | None:
    kind = _OPTIONS[a.operation]
    if not kind:
        return None
    options: dict[str, Any] = {}
    if a.options is not None:
        options = to_builtins(a.options)
    elif a.dry_run:
        options = {"dryRun": ["All"]}
    return {**options, "kind": kind, "apiVersion": "meta.k8s.io/v1"}


# Units of CEL's cost that the match conditions of one webhook or policy have together.
CONDITIONS_BUDGET = 2_500_000


async def conditions_hold(conditions: Sequence[Any], variables: dict[str, Any]) -> bool:
    """Whether every match condition is true. Raises CelError when none is false and one cannot be
    evaluated."""
    return not conditions or await aside(_conditions_hold, conditions, variables)


def _conditions_hold(conditions: Sequence[Any], variables: dict[str, Any]) -> bool:
    failure: CelError | None = None
    budget = Budget(CONDITIONS_BUDGET)
    for condition in conditions:
        try:
            if budget.run(condition.expression, variables) is not True:
                return False
        except OutOfBudget:
            raise
        except CelError as error:
            failure = failure or error
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # it would be in a cycle with this frame
    return True
