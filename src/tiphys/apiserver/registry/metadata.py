"""The rules every object's metadata follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tiphys.api.catalog import BY_PATH, Resource
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.apiserver.http.request import warn
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError, forbidden_field, invalid_value, required
from tiphys.machinery.labelrules import validate_annotations, validate_labels
from tiphys.machinery.names import dns_label_errors, label_key_errors

STANDARD_FINALIZERS = frozenset(("kubernetes", "orphan", "foregroundDeletion"))


def check_namespace(meta: ObjectMeta, namespace: str) -> None:
    """Puts an object into the namespace of its request, unless it names another. Raises 400."""
    if meta.namespace and namespace and meta.namespace != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    meta.namespace = namespace


def check_identity(meta: ObjectMeta, resource: Resource, namespace: str, name: str) -> None:
    """Whether an object is the one that its request names. Raises 400."""
    check_namespace(meta, namespace if resource.namespaced else "")
    if not meta.name:
        raise errors.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable:"
            " name must be provided"
        )
    if meta.name != name:
        raise errors.bad_request(
            f"the name of the object ({meta.name}) does not match the name on the URL ({name})"
        )


def validate_metadata(
    meta: ObjectMeta, resource: Resource, name_errors: Callable[[str], list[str]]
) -> list[FieldError]:
    """`name_errors` gives the problems of a name (`Strategy.name_errors`)."""
    problems: list[FieldError] = []
    if meta.generate_name:
        probe = meta.generate_name
        if probe.endswith(("-", ".")):
            probe = probe[:-1] + "a"
        problems += [
            invalid_value("metadata.generateName", meta.generate_name, e)
            for e in name_errors(probe)
        ]
    if not meta.name:
        problems.append(required("metadata.name", "name or generateName is required"))
    else:
        problems += [
            invalid_value("metadata.name", meta.name, problem) for problem in name_errors(meta.name)
        ]
    if resource.namespaced:
        if not meta.namespace:
            problems.append(required("metadata.namespace"))
        else:
            problems += [
                invalid_value("metadata.namespace", meta.namespace, e)
                for e in dns_label_errors(meta.namespace)
            ]
    elif meta.namespace:
        problems.append(forbidden_field("metadata.namespace", "not allowed on this type"))
    problems += validate_labels(meta.labels, "metadata.labels")
    problems += validate_annotations(meta.annotations, "metadata.annotations")
    problems += _owners(meta)
    # Upstream asks for a domain in front only where its core validation runs: not of definitions
    # and their objects.
    strict = resource.path_key in BY_PATH and resource.group != "apiextensions.k8s.io"
    for index, finalizer in enumerate(meta.finalizers):
        if strict and "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            problems.append(invalid_value(f"metadata.finalizers[{index}]", finalizer, detail))
        problems += [
            invalid_value("metadata.finalizers", finalizer, problem)
            for problem in label_key_errors(finalizer)
        ]
    if {"orphan", "foregroundDeletion"} <= set(meta.finalizers):
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        problems.append(invalid_value("metadata.finalizers", meta.finalizers, detail))
    return problems


def _owners(meta: ObjectMeta) -> list[FieldError]:
    """Upstream's paths have no index of the reference."""
    problems = []
    path = "metadata.ownerReferences"
    controller = ""
    for owner in meta.owner_references:
        if not owner.api_version.rpartition("/")[2]:
            problems.append(
                invalid_value(f"{path}.apiVersion", owner.api_version, "version must not be empty")
            )
        for name, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
            if not value:
                problems.append(invalid_value(f"{path}.{name}", value, "must not be empty"))
        if owner.kind == "Event" and owner.api_version == "v1":
            problems.append(
                invalid_value(path, owner, "/v1, Kind=Event is disallowed from being an owner")
            )
        if not owner.controller:
            continue
        name = f"{owner.kind}/{owner.name}"
        if controller:
            detail = (
                f'Only one reference can have Controller set to true. Found "true" in references '
                f"for {controller} and {name}"
            )
            problems.append(invalid_value(path, meta.owner_references, detail))
        controller = controller or name
    return problems


def drop_double_owners(meta: ObjectMeta) -> None:
    """Owners that are named twice, word for word, are kept once, with a warning."""
    kept = dict[tuple[Any, ...], OwnerReference]()
    double = dict[str, None]()
    for owner in meta.owner_references:
        words = msgspec.structs.astuple(owner)
        if words in kept:
            double[owner.uid] = None
        else:
            kept[words] = owner
    if double:
        meta.owner_references = list(kept.values())
        warn(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner "
            "references in 1.20+, and may"
            f" reject such requests as early as 1.24; please fix your requests; duplicate UID(s) "
            f"observed: {', '.join(double)}"
        )


def validate_metadata_update(new: ObjectMeta, old: ObjectMeta) -> list[FieldError]:
    problems = []
    for name, left, right in (
        ("name", new.name, old.name),
        ("namespace", new.namespace, old.namespace),
        ("uid", new.uid, old.uid),
        ("creationTimestamp", new.creation_timestamp, old.creation_timestamp),
        ("deletionTimestamp", new.deletion_timestamp, old.deletion_timestamp),
        (
            "deletionGracePeriodSeconds",
            new.deletion_grace_period_seconds,
            old.deletion_grace_period_seconds,
        ),
    ):
        if left != right:
            problems.append(invalid_value(f"metadata.{name}", left, "field is immutable"))
    if old.deletion_timestamp and (added := set(new.finalizers) - set(old.finalizers)):
        shown = ", ".join(f'"{name}"' for name in sorted(added))
        detail = (
            f"no new finalizers can be added if the object is being deleted, found new finalizers "
            f"[]string{{{shown}}}"
        )
        problems.append(forbidden_field("metadata.finalizers", detail))
    return problems
