"""`x-kubernetes-validations`: the CEL rules of a custom resource's schema, run over an object and
what it was before."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.base import to_builtins
from tiphys.api.custom import CustomObject
from tiphys.machinery import patience, structural
from tiphys.machinery.cel import Budget, CelError, OutOfBudget, compile_expression
from tiphys.machinery.cel.checker import ESTIMATE_LIMIT, check, type_of
from tiphys.machinery.cel.conversions import parse_duration, parse_timestamp
from tiphys.machinery.cel.declared import Declared, at_most, declared, is_exposed
from tiphys.machinery.cel.overloads import Type
from tiphys.machinery.cel.values import NONE, CostExceeded, Optional
from tiphys.machinery.errors import FieldError, duplicate, forbidden_field, invalid_value, required
from tiphys.machinery.fielderrors import ENOUGH, field_path, key_path
from tiphys.machinery.structural import Schema

_UNSET = structural.UNSET
_TOTAL_LIMIT = 100_000_000


def as_seen(obj: CustomObject, schema: Schema) -> dict[str, Any]:
    """An object as its root's schema and rules see it: of the metadata only the names, or all of it
    where the schema asks for more."""
    names = {"name": obj.metadata.name, "generateName": obj.metadata.generate_name}
    meta = {key: value for key, value in names.items() if value}
    about = schema.properties.get("metadata")
    if about is not None and (about.required or about.checks or about.branches):
        meta = to_builtins(obj.metadata)
    return {"apiVersion": obj.api_version, "kind": obj.kind, "metadata": meta, **obj.content}


def check_rules(value: Any, schema: Schema, path: str = "", old: Any = _UNSET) -> list[FieldError]:
    """Every rule that does not hold, or `ENOUGH` of them. Without `old`, rules about changes are
    left out."""
    if not schema.has_rules:
        return []
    errors = list[FieldError]()
    try:
        for error in _walk(value, schema, path, old, Budget()):
            errors.append(error)
            if len(errors) > ENOUGH:
                break
    except _Spent as spent:
        errors.append(spent.error)
    return errors


class _Spent(Exception):
    """No budget is left: no further rule is run."""

    def __init__(self, error: FieldError) -> None:
        super().__init__()
        self.error = error


def _walk(value: Any, schema: Schema, path: str, old: Any, budget: Budget) -> Iterator[FieldError]:
    if not schema.has_rules or value is None:
        return
    if schema.rules:
        yield from _rules_of(value, schema, path, old, budget)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            inner = schema.child(name)
            if inner is not None and inner.has_rules:
                where = field_path(path, name)
                if inner is schema.additional and name not in schema.properties:
                    where = key_path(path, name)
                yield from _walk(item, inner, where, before.get(name, _UNSET), budget)
    elif isinstance(value, list) and schema.items is not None and schema.items.has_rules:
        for index, (item, was) in enumerate(
            zip(value, structural.correlated(value, old, schema), strict=True)
        ):
            yield from _walk(item, schema.items, f"{path}[{index}]", was, budget)


def _rules_of(
    value: Any, schema: Schema, path: str, old: Any, budget: Budget
) -> Iterator[FieldError]:
    variables: dict[str, Any] = {"self": cel_value(value, schema)}
    unchanged = old is not _UNSET and old == value
    for rule in schema.rules:
        program = compile_expression(rule["rule"])
        if "oldSelf" in program.names:
            maybe = rule.get("optionalOldSelf")
            if old is _UNSET and not maybe:
                continue
            before = cel_value(old, schema) if old is not _UNSET else None
            if maybe:
                before = NONE if old is _UNSET else Optional(True, before)
            variables["oldSelf"] = before
        elif unchanged:
            continue  # what was there before is not judged again
        where = path + (rule.get("fieldPath") or "")
        kind = schema.type or "object"
        try:
            holds = budget.run(rule["rule"], variables)
        except OutOfBudget as error:
            raise _Spent(invalid_value(where, kind, str(error))) from None
        except CostExceeded as error:
            yield invalid_value(
                where, kind, f"{error}: call cost exceeds limit for rule: {rule['rule']}"
            )
            return
        except CelError as error:
            yield invalid_value(
                where, kind, f"{error} evaluating rule: {rule.get('message') or rule['rule']}"
            )
            continue
        if holds is not True:
            yield _broken(rule, where.lstrip("."), kind, value, _message(rule, variables, budget))


def _message(rule: dict[str, Any], variables: dict[str, Any], budget: Budget) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            text = budget.run(expression, variables)
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        except CelError:
            pass
    return (rule.get("message") or "").strip() or f"failed rule: {rule['rule'].strip()}"


def _broken(rule: dict[str, Any], path: str, kind: str, value: Any, message: str) -> FieldError:
    reason = rule.get("reason") or "FieldValueInvalid"
    if reason == "FieldValueRequired":
        return required(path, message)
    if reason == "FieldValueForbidden":
        return forbidden_field(path, message)
    if reason == "FieldValueDuplicate":
        if kind in ("object", "array"):
            return FieldError(reason, path, "Duplicate value")
        return duplicate(path, value)
    if kind in ("object", "array"):  # upstream shows no value of these
        return FieldError("FieldValueInvalid", path, lambda: f"Invalid value: {message}")
    return invalid_value(path, value, message)


def cel_value(value: Any, schema: Schema | None) -> Any:
    """A value as CEL sees it: numbers are doubles, and strings of some formats are times, spans and
    bytes."""
    if schema is None or value is None:
        return value
    if isinstance(value, dict):
        patience.take(1 + len(value) // 4)
        return {name: cel_value(item, schema.child(name)) for name, item in value.items()}
    if isinstance(value, list):
        patience.take(1 + len(value) // 4)
        return [cel_value(item, schema.items) for item in value]
    if schema.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if schema.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if schema.type == "string" and isinstance(value, str) and schema.facts.get("format"):
        return _formatted(value, schema.facts["format"])
    return value


def _formatted(text: str, name: str) -> Any:
    try:
        if name in ("date-time", "datetime"):
            return parse_timestamp(text)
        if name == "date":
            return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
        if name == "duration":
            return parse_duration(text)
        if name == "byte":
            import base64

            return base64.b64decode(text)
    except (CelError, ValueError):
        pass
    return text


# --- of definitions ---


_HINT = " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
_CONTRIBUTED = (
    "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
)
_NAMED = 4  # of the most expensive rules


@dataclass(slots=True)
class RuleCosts:
    """What the rules of one schema may cost together."""

    total: int = 0
    rows: list[tuple[int, str]] = field(default_factory=list)  # (cost, path)

    def add(self, path: str, cost: int) -> None:
        self.total += cost
        if cost >= _TOTAL_LIMIT // 100:
            self.rows.append((cost, path))

    def total_errors(self, path: str) -> list[FieldError]:
        if self.total <= _TOTAL_LIMIT:
            return []
        dear = sorted(self.rows, key=lambda row: -row[0])[:_NAMED]
        subject = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [forbidden_field(rule_path, _CONTRIBUTED) for _, rule_path in dear] + _over(
            path, subject, self.total, _TOTAL_LIMIT
        )


def _over(path: str, subject: str, cost: int, limit: int) -> list[FieldError]:
    if cost <= limit:
        return []
    factor = _factor(cost / limit)
    return [forbidden_field(path, f"{subject} exceeds budget by factor of {factor}{_HINT}")]


def _factor(ratio: float) -> str:
    if ratio > 100:
        return "more than 100x"
    return f"{ratio:.6f}x" if ratio < 1.5 else f"{ratio:.1f}x"


def node_errors(
    schema: Schema,
    path: str,
    times: int | None,
    uncorrelated: str,
    costs: RuleCosts,
    root: bool = False,
) -> list[FieldError]:
    """What is wrong with the expressions of one node's rules. times: how often the value may be
    there, None if only the size of a request bounds it; uncorrelated: the path above it where old
    values cannot be correlated, if any; root: whether it is the schema of a whole resource."""
    errors = list[FieldError]()
    schema = schema.as_seen(root)
    if not is_exposed(schema):
        message = "Internal error: internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations"
        return [FieldError("InternalError", f"{path}.x-kubernetes-validations", message)]
    own = type_of(schema)
    sizes = dict.fromkeys(("self", "oldSelf"), declared(schema))
    times = at_most(schema) if times is None else times
    for index, rule in enumerate(schema.rules):
        where = f"{path}.x-kubernetes-validations[{index}]"
        text = rule["rule"]
        optional = rule.get("optionalOldSelf")
        variables = {"self": own, "oldSelf": Type("optional_type", (own,)) if optional else own}
        changes = False
        try:
            cost = check(text, variables, sizes=sizes) * times
        except CelError as error:
            detail = f"compilation failed: {error}"
            if str(error).startswith("must evaluate"):
                detail = "cel expression must evaluate to a bool"
            errors.append(invalid_value(f"{where}.rule", _shown(rule), detail))
        else:
            changes = "oldSelf" in compile_expression(text).names
            costs.add(f"{where}.rule", cost)
            errors += _over(f"{where}.rule", "estimated rule cost", cost, ESTIMATE_LIMIT)
            errors += _message_errors(rule, variables, sizes, where, costs)
        if changes and uncorrelated:
            message = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
            errors.append(invalid_value(f"{where}.rule", text, message))
        elif not changes and optional is not None:
            message = "may not be set if oldSelf is not used in rule"
            errors.append(invalid_value(f"{where}.optionalOldSelf", optional, message))
    return errors


def _message_errors(
    rule: dict[str, Any],
    variables: dict[str, Type],
    sizes: dict[str, Declared],
    where: str,
    costs: RuleCosts,
) -> list[FieldError]:
    message_path = f"{where}.messageExpression"
    expression = rule.get("messageExpression")
    if not expression:
        return []
    try:
        cost = check(expression, variables, "string", sizes)
    except CelError as error:
        text = str(error)
        message = f"messageExpression compilation failed: {text}"
        if text.startswith("must evaluate"):
            message = "messageExpression must evaluate to a string"
        return [invalid_value(message_path, _shown(rule), message)]
    costs.add(message_path, cost)
    return _over(message_path, "estimated messageExpression cost", cost, ESTIMATE_LIMIT)


def _shown(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as upstream prints it."""
    names = ("rule", "message", "messageExpression", "reason", "fieldPath", "optionalOldSelf")
    return {
        name[0].upper() + name[1:]: rule.get(
            name, None if name in ("reason", "optionalOldSelf") else ""
        )
        for name in names
    }
