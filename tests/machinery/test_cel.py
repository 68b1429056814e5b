"""CEL: values, operators, macros, libraries, errors, cost, and the rules of custom resources."""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any

import pytest

from tests.machinery.expressions import COMPARED, SELF
from tiphys.machinery.cel import CelError, compile_expression
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.overloads import Type
from tiphys.machinery.cel.values import CostExceeded, Optional, type_name
from tiphys.machinery.rules import RuleCosts, check_rules, node_errors
from tiphys.machinery.structural import compile_schema

VARIABLES: dict[str, Any] = {
    "a": {"b": {"c": 4}, "foo-bar": 7, "namespace": 1},
    "items": [1, 2, 3],
    "s": "hello",
}


def run(text: str) -> Any:
    return compile_expression(text).run(dict(VARIABLES))


TRUE = [
    "1 + 2 * 3 == 7",
    "-5 % 3 == -2",
    "-7 / 2 == -3",
    "1 == 1.0",
    "1u + 2u == 3u",
    "1 < 2.5",
    "!(true && false)",
    "items.all(x, x > 0)",
    "items.exists(i, v, i == 2 && v == 3)",
    "items.exists_one(x, x == 2)",
    "items.map(x, x * x) == [1, 4, 9]",
    "items.map(x, x > 1, x) == [2, 3]",
    "items.filter(x, x > 1).size() == 2",
    "a.b.c == 4",
    "a.foo__dash__bar == 7",
    "a.__namespace__ == 1",
    "has(a.b)",
    "!has(a.x)",
    "a.?b.?x.orValue(9) == 9",
    "a[?'b'].hasValue()",
    "[?optional.of(1), ?optional.none()] == [1]",
    "{?'k': optional.none()} == {}",
    "optional.of(2).optMap(x, x + 1).value() == 3",
    "1 / 0 == 1 || true",
    "!(false && 1 / 0 == 1)",
    "type(1) == int",
    "type('') == string",
    "1 in items",
    "'b' in a",
    "'abc'.matches('^a.c$')",
    "s.substring(1, 3) == 'el'",
    "s.startsWith('he') && s.endsWith('lo') && s.contains('ll')",
    "s.indexOf('l') == 2 && s.lastIndexOf('l') == 3",
    "'a,b'.split(',') == ['a', 'b']",
    "['a', 'b'].join('-') == 'a-b'",
    "'%s %d %.2f'.format(['x', 3, 1.5]) == 'x 3 1.50'",
    "'abc 123'.find('[0-9]+') == '123'",
    "'1 2'.findAll('[0-9]') == ['1', '2']",
    "' x '.trim().upperAscii() == 'X'",
    "[3, 1, 2].max() == 3 && [3, 1, 2].min() == 1 && [1, 2].sum() == 3",
    "[1, 2].isSorted() && ![2, 1].isSorted()",
    "[3, 1].sort() == [1, 3]",
    "[1, 1, 2].distinct() == [1, 2]",
    "sets.contains([1, 2], [1])",
    "sets.intersects([1], [1, 2])",
    "quantity('1Gi').isGreaterThan(quantity('500Mi'))",
    "quantity('1').add(quantity('500m')).compareTo(quantity('1500m')) == 0",
    "duration('1h30m').getMinutes() == 90",
    "timestamp('2020-01-01T00:00:00Z') + duration('1h') == timestamp('2020-01-01T01:00:00Z')",
    "timestamp('2020-02-03T04:05:06Z').getMonth() == 1",
    "ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('x')",
    "cidr('10.0.0.0/8').containsIP('10.1.1.1')",
    "url('https://a.b:80/c?d=e').getHostname() == 'a.b'",
    "semver('1.2.3').isLessThan(semver('1.10.0'))",
    "items.transformMap(i, v, v * 2)[0] == 2",
    "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10) == {'b': 20}",
    "[1, 2].transformMapEntry(i, v, v > 1, {v: i}) == {2: 1}",
    "r'\\d' == '\\\\d'",
    "b'abc'.size() == 3",
    "'\\u00e9'.size() == 1",
    "true ? true : 1 / 0 == 1",
    "Object{spec: Object.spec{n: 1}} == {'spec': {'n': 1}}",
    "Object{} == {} && [] == [] && {} == {}",
    "Object{a: 1, b: 2} == {'a': 1, 'b': 2}",
    "Object{a: 1,} == {'a': 1}",
    "Object{?a: optional.none(), b: 1} == {'b': 1}",
    "Object{?a: optional.of(1)} == {'a': 1}",
    "Object{`a-b`: 1} == {'a-b': 1}",
    "[1, 2,] == [1, 2]",
    "[?optional.none(), ?optional.of(2),] == [2]",
    "{'a': 1, 'b': 2,}.size() == 2",
    "{?'a': optional.of(1), 'b': 2} == {'a': 1, 'b': 2}",
    "a.`foo-bar` == 7",
    "(1 + 2) * 3 == 9 && -(1 + 2) == -3 && - 1 == -1 && !!true",
    "dyn([true]) != dyn([1]) && dyn([1]) == dyn([1.0])",
    "dyn({'k': true}) != dyn({'k': 1}) && dyn({'k': 1}) == dyn({'k': 1.0})",
]


@pytest.mark.parametrize("text", TRUE)
def test_holds(text: str) -> None:
    assert run(text) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.x", "no such key: x"),
        ("items[7]", "index out of bounds: 7"),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("1 + 'a'", "no such overload"),
        ("1 + 1.0", "no such overload"),
        ("items.all(x, x / 0 == 1)", "division by zero"),
        ("unknown.x", "no such attribute"),
        ("quantity('x')", "quantities must match"),
    ],
)
def test_fails(text: str, message: str) -> None:
    with pytest.raises(CelError, match=message):
        run(text)


@pytest.mark.parametrize(
    "text",
    [
        *("foo(", "1 +", "a..b", "'x", "if", "a.all(1, true)", "nothing(1)", "a.nothing()"),
        *("Object{1: 2}", "Object{a 1}", "Object{a: 1 b: 2}", "Object{a: 1", "Object{?: 1}"),
        *("{'a' 1}", "{'a': 1 'b': 2}", "{'a': 1", "[1 2]", "[1", "[,]", "(1", "a[1", "1 2"),
    ],
)
def test_what_is_not_cel_is_told_with_its_place(text: str) -> None:
    with pytest.raises(CelError, match=r"ERROR: <input>:1:\d+"):
        compile_expression(text)


def test_names_that_nobody_declared_are_told() -> None:
    with pytest.raises(CelError, match=r"1:5: undeclared reference to 'y'"):
        compile_expression("x + y", frozenset("x"))


def test_work_has_a_limit_that_nothing_absorbs() -> None:
    with pytest.raises(CostExceeded):
        compile_expression("items.all(x, items.all(y, items.all(z, true))) || true").run(
            dict(VARIABLES), 20
        )


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "rows": {
            "type": "array",
            "maxItems": 9,
            "items": {"type": "object", "properties": {"v": {"type": "integer"}}},
        },
        "when": {"type": "string", "format": "date-time"},
    },
}


def ruled(*rules: str, **extra: Any) -> Any:
    return compile_schema(
        {**SCHEMA, "x-kubernetes-validations": [{"rule": rule, **extra} for rule in rules]}
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("self.m == 1", "undefined field 'm'"),
        ("has(self.m)", "undefined field 'm'"),
        ("self.n == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.n", "must evaluate to a bool"),
        ("self.rows.all(r, r.w > 1)", "undefined field 'w'"),
        ("self.n.all(r, true)", "cannot be range of a comprehension"),
        ("self.n ==", "Syntax error"),
        ("self.s.x == 1", "type 'string' does not support field selection"),
        ("[1, 'a'].size() == 2", "expected type 'int' but found 'string'"),
        ("{1: 2, 'a': 3}.size() == 2", "expected type 'int' but found 'string'"),
        ("[?1].size() == 1", "expected type 'optional_type(int)' but found 'int'"),
        ("self.n && true", "expected type 'bool' but found 'int'"),
        ("true || self.s", "expected type 'bool' but found 'string'"),
        (
            "'%d'.format([1, 2]) == ''",
            "too many arguments supplied to string.format (expected 1, got 2)",
        ),
        ("'%d %d'.format([1]) == ''", "index 1 out of range"),
        ("self.s.matches('(')", "invalid matches argument"),
        ("unheard(self.n)", "undeclared reference to 'unheard' (in container '')"),
        ("self.s.unheard()", "undeclared reference to 'unheard' (in container '')"),
        ("self.rows.map(r, r.v > 0, r.w).size() == 1", "undefined field 'w'"),
        ("self.rows.map(r, r.v, r.v).size() == 1", ":_' applied to '"),
        ("self.rows.filter(r, r.v).size() == 1", "found no matching overload for"),
        (
            "self.rows.transformMap(i, r, i.x).size() == 1",
            "type 'int' does not support field selection",
        ),
        (
            "optional.of(self.n).optMap(x, x.y).hasValue()",
            "type 'int' does not support field selection",
        ),
        ("self.n.optMap(x, x).hasValue()", "found no matching overload for 'hasValue'"),
        ("timestamp('x') == timestamp('y')", "invalid timestamp argument"),
        ("duration('x') == duration('y')", "invalid duration argument"),
        ("true ? 1 : 'a'", ":_' applied to '"),
        ("self == 1", "found no matching overload for '_==_'"),
    ],
)
def test_rules_are_checked_against_the_schema(rule: str, message: str) -> None:
    with pytest.raises(CelError, match=message.replace("(", r"\(").replace(")", r"\)")):
        check(rule, {"self": type_of(ruled())})


def test_good_rules_pass_the_check() -> None:
    for rule in (
        "self.rows.all(r, r.v > self.n)",
        "has(self.s) ? self.s.size() > 1 : true",
        "self.when < timestamp('2030-01-01T00:00:00Z')",
        "'%d%% %s'.format([1, 'a']) == '1% a'",
        "[?optional.of(1), 2].size() == 2",
        "{?'a': optional.of(1)}.size() == 1",
        "self.rows.map(r, r.v > 0, r.v).size() == 1",
        "self.rows.transformList(i, r, i + r.v).size() == 1",
        "self.rows.transformMap(i, r, r.v)[0] == 1",
        "optional.of(self.n).optMap(x, x + 1).hasValue()",
        "optional.of(self.n).optFlatMap(x, optional.of(x + 1)).hasValue()",
        "self.rows.sortBy(r, r.v).size() == 1",
        "type(self.n) == int && type(self.s) == string",
        "has(self.rows) && self.?s.hasValue()",
    ):
        assert check(rule, {"self": type_of(ruled())}) > 0


def test_rules_without_bounds_are_refused() -> None:
    loose = {"type": "array", "items": {"type": "string"}}
    rule = {"rule": "self.all(x, self.all(y, x == y))"}
    costs, schema = RuleCosts(), compile_schema({**loose, "x-kubernetes-validations": [rule]})
    [error] = node_errors(schema, "schema.l", 1, "", costs)
    contributed, total = costs.total_errors("schema")
    assert contributed.field == error.field == "schema.l.x-kubernetes-validations[0].rule"
    assert "estimated rule cost total for entire OpenAPIv3 schema" in total.detail
    assert (
        error.reason == "FieldValueForbidden"
        and "exceeds budget by factor of more than 100x" in error.detail
    )


def test_a_broken_rule_says_its_message() -> None:
    assert [str(e) for e in check_rules({"n": 1}, ruled("self.n > 1"), "spec")] == [
        "spec: Invalid value: failed rule: self.n > 1"
    ]
    told = check_rules(
        {"n": 1},
        ruled("self.n > 1", messageExpression="'n is ' + string(self.n)", fieldPath=".n"),
        "spec",
    )
    assert [str(e) for e in told] == ["spec.n: Invalid value: n is 1"]


def test_rules_about_changes_run_only_on_changes() -> None:
    schema = ruled("self.n >= oldSelf.n")
    assert not check_rules({"n": 1}, schema)
    assert check_rules({"n": 1}, schema, "", {"n": 2}) and not check_rules(
        {"n": 3}, schema, "", {"n": 2}
    )


def test_what_did_not_change_is_not_judged_again() -> None:
    assert not check_rules({"n": 1}, ruled("self.n > 1"), "", {"n": 1})


def test_an_unknown_type_lets_everything_pass() -> None:
    assert check("x.y.z == 1 && x.all(k, k)", {"x": Type("dyn")}) > 0


def shown(value: Any) -> str:
    """A value as the table of compared expressions writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"bool:{str(value).lower()}"
    if isinstance(value, float):
        return f"double:{json.dumps(int(value) if value.is_integer() and abs(value) < 1e21 else value)}"
    if isinstance(value, bytes):
        return f"bytes:{base64.b64encode(value).decode()}"
    if isinstance(value, list):
        return "[" + ",".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{shown(k)}={shown(v)}" for k, v in value.items())) + "}"
    if isinstance(value, datetime.timedelta):
        return f"duration:{value // datetime.timedelta(microseconds=1) * 1000}"
    if isinstance(value, datetime.datetime):
        text = value.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
        return "timestamp:" + text.replace("+00:00", "").removesuffix(".000") + "Z"
    if isinstance(value, Optional):
        return f"optional({shown(value.value)})" if value.present else "none"
    name = type_name(value)
    if name == "type":
        return f"type:{value.name}"
    return f"{name}:{value}" if isinstance(value, int | str) else f"obj:{name}"


def outcome(text: str) -> str:
    try:
        check(text, {"self": Type("dyn")}, None)
        program = compile_expression(text, frozenset(["self"]))
    except CelError as error:
        return "NO " + str(error).split("\n")[0].replace("ERROR: <input>:", "")
    try:
        return shown(program.run({"self": SELF}))
    except CelError as error:
        return f"ERR {error}"


def test_expressions_come_to_what_they_come_to_upstream() -> None:
    assert len(COMPARED) > 300
    assert [(text, outcome(text)) for text, _ in COMPARED] == COMPARED
