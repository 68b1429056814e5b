"""The options of a request, read off its query or its body and checked before anything else
happens.

Source of the rules: upstream's validation of the option kinds of meta.k8s.io.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.api.meta_v1 import DeleteOptions, Preconditions
from tiphys.apiserver.http.request import Call, whole_number
from tiphys.machinery import decoding, errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.query import truth

_GROUP = "meta.k8s.io"
_MANAGER_LENGTH = 128
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_PROPAGATIONS = ("Foreground", "Background", "Orphan")
_INCLUDED = ("", "Metadata", "Object", "None")


def check_write(call: Call, kind: str, apply: bool = False) -> None:
    """`kind`: CreateOptions, UpdateOptions or PatchOptions. Raises 422."""
    query = call.query
    if not query and not apply:
        return
    manager = query.get("fieldManager", "")
    violations = list[FieldError]()
    if apply and not manager:
        violations.append(errors.required("fieldManager", "is required for apply patch"))
    if kind == "PatchOptions" and not apply and "force" in query:
        violations.append(
            errors.forbidden_field("force", "may not be specified for non-apply patch")
        )
    violations += manager_errors(manager, "fieldManager")
    if "dryRun" in query:
        violations += _dry_run_errors([query["dryRun"]])
    if query.get("fieldValidation", "") not in _VALIDATIONS:
        violations.append(
            errors.not_supported("fieldValidation", query["fieldValidation"], _VALIDATIONS)
        )
    _refuse(kind, violations)


def manager_errors(name: str, field: str) -> list[FieldError]:
    """What is wrong with the name of a field manager. A too long one is not checked further."""
    if len(name.encode()) > _MANAGER_LENGTH:
        return [errors.too_long(field, _MANAGER_LENGTH)]
    violations = []
    position = 0  # in bytes
    for character in name:
        if not character.isprintable():
            detail = f"invalid character U+{ord(character):04X} (at position {position})"
            violations.append(errors.invalid_value(field, name, detail))
        position += len(character.encode())
    return violations


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [errors.not_supported("dryRun", values, ["All"])]


def check_list(call: Call) -> None:
    """The options of a list, a watch or a collection's deletion. Raises 400 or 422."""
    query = call.query
    if not query:
        return
    for name in ("limit", "timeoutSeconds"):
        whole_number(query.get(name) or "0")
    match = query.get("resourceVersionMatch", "")
    initial = query.get("sendInitialEvents")
    if not match and initial is None:
        return
    violations = list[FieldError]()

    def forbid(detail: str, field: str = "resourceVersionMatch") -> None:
        violations.append(errors.forbidden_field(field, detail))

    if call.info.verb == "watch":
        if initial is not None and match != "NotOlderThan":
            forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if match and initial is None:
            forbid(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        if match and match != "NotOlderThan":
            violations.append(errors.not_supported("resourceVersionMatch", match, ["NotOlderThan"]))
    else:
        if match and not query.get("resourceVersion"):
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if match not in ("", "Exact", "NotOlderThan"):
            violations.append(
                errors.not_one_of("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""])
            )
        if match == "Exact" and query.get("resourceVersion") == "0":
            forbid('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        if initial is not None:
            forbid("sendInitialEvents is forbidden for list", "sendInitialEvents")
    if match and query.get("continue"):
        forbid("resourceVersionMatch is forbidden when continue is provided")
    _refuse("ListOptions", violations)


def check_included(text: str) -> None:
    """What accompanies the rows of a Table. Raises 400."""
    if text not in _INCLUDED:
        violation = errors.invalid_value(
            "includeObject", text, "must be 'Metadata', 'Object', 'None', or empty"
        )
        raise errors.bad_request(f"Unable to convert to Table as requested: {violation}")


_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"


def read_delete_options(value: Any) -> DeleteOptions:
    """Those of a body, plain; null has none. Raises DecodeError, and 400 for another kind."""
    if value is None:
        return DeleteOptions()
    options = decoding.convert(value, DeleteOptions)
    kind = value.get("kind") or ""
    version = value.get("apiVersion") or "v1"
    if version.count("/") > 1:
        raise errors.bad_request(f"unexpected GroupVersion string: {version}")
    if kind not in ("", "DeleteOptions"):
        raise errors.bad_request(
            f'no kind "{kind}" is registered for version "{version}" in scheme "{_SCHEME}"'
        )
    return options


def delete_options_of(query: Mapping[str, str]) -> DeleteOptions:
    """Those of a query, which count where there is no body (upstream). Raises 400."""
    options = DeleteOptions()
    if "gracePeriodSeconds" in query:
        options.grace_period_seconds = whole_number(query["gracePeriodSeconds"])
    if "propagationPolicy" in query:
        options.propagation_policy = query["propagationPolicy"]
    if "orphanDependents" in query:
        options.orphan_dependents = truth(query["orphanDependents"])
    if "dryRun" in query:
        options.dry_run = [query["dryRun"]]
    uid = query.get("uid") or None
    version = query.get("resourceVersion") or None
    if uid or version:
        options.preconditions = Preconditions(uid=uid, resource_version=version)
    return options


def complete_delete(options: DeleteOptions, call: Call) -> None:
    """Checks the options of a deletion. Raises 422. A dry run may stand in the query beside a body,
    too: upstream would delete what was not to be."""
    if call.dry_run and not options.dry_run:
        options.dry_run = ["All"]
    violations = list[FieldError]()
    policy = options.propagation_policy
    if policy is not None and options.orphan_dependents is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        violations.append(errors.invalid_value("propagationPolicy", policy, detail))
    if policy is not None and policy not in _PROPAGATIONS:
        violations.append(errors.not_one_of("propagationPolicy", policy, [*_PROPAGATIONS, "nil"]))
    violations += _dry_run_errors(options.dry_run)
    if options.grace_period_seconds is not None and options.grace_period_seconds < 0:
        options.grace_period_seconds = 1
    _refuse("DeleteOptions", violations)


def _refuse(kind: str, violations: list[FieldError]) -> None:
    if violations:
        raise errors.invalid(kind, _GROUP, "", violations)
