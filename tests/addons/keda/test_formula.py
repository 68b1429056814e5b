"""Formulas as Expr has them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiphys.addons.keda.formula import FormulaError, compiled

VALUES: dict[str, float | None] = {"a": 3.0, "b": 4.0, "gone": None}


def value(text: str) -> float | None:
    return compiled(text, list(VALUES)).value(VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * 2", 11),
        ("(a + b) / 2", 3.5),
        ("a > 2 ? b : 5", 4),
        ("a > 5 ? 1 : a > 2 ? 2 : 3", 2),
        ("count([a, b], {# > 3}) > 0 ? 5 : 1", 5),
        ("sum(filter([a, b, 9], # > 3))", 13),
        ("[a, b] | map(# * 2) | max()", 8),
        ("let total = a + b; total > 6 ? total : 0", 7),
        ("gone ?? a", 3),
        ("(gone ?? a) + 1", 4),
        ("a ?? gone", 3),
        ("-2 ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("7 % 3", 1),
        ("not (a > 5) and b == 4 ? 1 : 0", 1),
        ("!(a > 5) || false ? 1 : 0", 1),
        ("a in [3.0, 9] ? 1 : 0", 1),
        ("a not in 1..2 ? 1 : 0", 1),
        ("round(2.5) + floor(-1.5) + ceil(1.2) + abs(-3)", 6),
        ("median([1, 9, 2]) + mean(1, 3)", 4),
        ("float('2.5') + int(3.9)", 5.5),
        ("[a, b][1]", 4),
        ("all([a, b], {# > 2}) ? len([a, b]) : 0", 2),
        (".5 + 1e2 + 1_000", 1100.5),
    ],
)
def test_what_formulas_make(text: str, expected: float) -> None:
    assert value(text) == expected


def test_nothing_comes_out_only_where_nothing_is_asked_about() -> None:
    assert value("gone ?? gone") is None
    with pytest.raises(FormulaError, match="invalid operation: <nil> \\+ int"):
        value("gone + 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("c + 1", r"unknown name c \(1:1\)\n \| c \+ 1\n \| \^"),
        ("a +", r"unexpected token EOF \(1:4\)"),
        ("a > 1", r"invalid argument for float \(type bool\)"),
        ("a ? 1 : 2", r"invalid operation: \?"),
        ("average(a)", "unknown name average"),
        ("1 +* 2", "unexpected token"),
        ("a.b", "unexpected token"),
        ("#", "unexpected token"),
        ("'x' + 1", "invalid operation: string"),
    ],
)
def test_what_is_wrong_with_a_formula(text: str, words: str) -> None:
    with pytest.raises(FormulaError, match=words):
        value(text)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(alphabet="ab1.+-*/%()[]{}#?:|&!<>= ,'", max_size=40))
def test_a_text_is_a_formula_or_refused(text: str) -> None:
    try:
        found = value(text)
    except FormulaError:
        return
    assert found is None or isinstance(found, float)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(a=st.floats(-1e6, 1e6), b=st.floats(-1e6, 1e6))
def test_arithmetic_is_that_of_floating_point(a: float, b: float) -> None:
    formula = compiled("(a + b) * 2 - a", ["a", "b"])
    assert formula.value({"a": a, "b": b}) == (a + b) * 2 - a


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 2", 0.5),
        ("-7 % 3", -1),
        ("9 ^ 0.5", 3),
        ("'a' + 'b' == 'ab' ? 1 : 0", 1),
        ("'a' < 'b' ? 1 : 0", 1),
        ("3 <= 3 ? 1 : 0", 1),
        ("3 >= 4 ? 1 : 0", 0),
        ("3 < 3 ? 1 : 0", 0),
        ("a != b ? 1 : 0", 1),
        ("len(1..3)", 3),
        ("len(3..3)", 1),
        ("len('abc')", 3),
        ("sum([])", 0),
        ("mean([])", 0),
        ("median([])", 0),
        ("min(3, [1, 2])", 1),
        ("max([1, 2], 3)", 3),
        ("round(-2.5)", -3),
        ("round(2.4)", 2),
        ("find([1, 5, 6], {# > 3})", 5),
        ("any([a, b], {# > 3}) ? 1 : 0", 1),
        ("none([a, b], {# > 9}) ? 1 : 0", 1),
        ("one([a, b], {# > 3}) ? 1 : 0", 1),
        ("all([a, b], {# > 3}) ? 1 : 0", 0),
        ("int('7')", 7),
        ("true and false ? 1 : 0", 0),
        ("false or true ? 1 : 0", 1),
    ],
)
def test_each_operation_by_itself(text: str, expected: float) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("'a' + 1", "invalid operation: string \\+ int"),
        ("'a' - 'b'", "invalid operation: string - string"),
        ("'a' < 1 ? 1 : 0", "invalid operation: string < int"),
        ("true < false ? 1 : 0", "invalid operation: bool < bool"),
        ("5 % 0", "invalid operation: 5 % 0"),
        ("5.5 % 2", "mismatched types float64 and int"),
        ("1 in 2 ? 1 : 0", 'operator "in" not defined on int'),
        ("len(1..100000000)", "invalid operation: 1 .. 100000000"),
        ("len(1.5..2)", "invalid operation: 1.5 .. 2"),
        ("max()", "not enough arguments to call max"),
        ("sum('a')", "invalid argument for sum \\(type string\\)"),
        ("abs('a')", "invalid argument for abs \\(type string\\)"),
        ("abs(1, 2)", "invalid argument for abs \\(type int, int\\)"),
        ("len(1)", "invalid argument for len \\(type int\\)"),
        ("int('x')", "invalid argument for int \\(type string\\)"),
        ("int(true)", "invalid argument for int \\(type bool\\)"),
        ("-'a'", "mismatched type string"),
        ("!1 ? 1 : 0", "mismatched type int"),
        ("1 ? 2 : 3", "mismatched type int"),
        ("(-8) ** 0.5", "invalid operation"),
    ],
)
def test_what_an_operation_does_not_take(text: str, words: str) -> None:
    with pytest.raises(FormulaError, match=words):
        value(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("1 / 0", "inf"), ("-1 / 0", "-inf"), ("0 / 0", "nan")]
)
def test_nothing_stops_a_division(text: str, expected: str) -> None:
    assert str(value(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # numbers and names
        ("1_000.5", 1000.5),
        ("1e3 + 1.5e-1", 1000.15),
        ("2.", 2),
        ("len(1..4)", 4),
        ("0..2 | sum()", 3),
        # precedence: Expr's table
        ("1 + 2 * 3 ** 2", 19),
        ("10 - 3 - 2", 5),
        ("100 / 10 / 2", 5),
        ("2 * 3 % 4", 2),
        ("-a + 1", -2),
        ("+a", 3),
        ("--a", 3),
        ("1 + 1 == 2 ? 1 : 0", 1),
        ("1 + 1..3 | len()", 2),
        ("true || false && false ? 1 : 0", 1),
        ("true or nil > 1 ? 1 : 0", 1),
        ("false and nil > 1 ? 1 : 0", 0),
        ("not true or true ? 1 : 0", 1),
        ("not (a in [1]) ? 1 : 0", 1),
        ("gone ?? 1 + 1", 2),
        ("2 * (gone ?? 3)", 6),
        # else
        ("(a > 2 ?: false) ? 1 : 0", 1),
        ("(a > 9 ?: true) ? 1 : 0", 1),
        ("[[1, 2], [3]][0][1]", 2),
        ("let x = 1; let y = x + 1; x + y", 3),
        ("let a = 7; a", 7),
        ("len(filter([a, b, 1], {# >= 3}))", 2),
        ("sum(map([1, 2], {# * 10}))", 30),
        ("sum([1, 2], {# * 10})", 30),
        ("sum([1, 2], 3)", 6),
        ("count([true, false, true])", 2),
        ("[true, true] | count()", 2),
        ("find([1, 2], {# > 5}) ?? 9", 9),
        ("one([a, b], {# > 1}) ? 1 : 0", 0),
        ("none([a, b], {# > 3}) ? 1 : 0", 0),
        ("any([a, b], {# > 9}) ? 1 : 0", 0),
        ("max(map([1, 2], sum(map([#, 3], {# * 2}))))", 10),
        ("float(1)", 1),
        ("int(-3.9)", -3),
        ("round(0.5)", 1),
        ("round(0.49)", 0),
        ("abs(-0.5)", 0.5),
        ("mean([1, 2], 6)", 3),
        ("median(1, 2, 3, 10)", 2.5),
        ("min([4])", 4),
        ("\"x\" == 'x' ? 1 : 0", 1),
        ("'b' > 'a' ? 1 : 0", 1),
        ("nil == nil ? 1 : 0", 1),
        ("9223372036854775807 + 1", 2.0**63),
        ("7", 7),
        ("'2.5'", 2.5),
    ],
)
def test_what_binds_closer_comes_first(text: str, expected: float) -> None:
    """The precedence is that of https://expr-lang.org/docs/language-definition."""
    assert value(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"unexpected token EOF"),
        ("  ", r"unexpected token EOF"),
        ("a b", r'unexpected token name\("b"\) \(1:3\)'),
        ("a\n+ c", r"unknown name c \(2:3\)\n \| \+ c\n \| \.\.\^"),
        ("(a", r"unexpected token EOF"),
        ("[a", r"unexpected token EOF"),
        ("[a b]", r'unexpected token name\("b"\)'),
        ("a @ b", r"unrecognized character: '@' \(1:3\)"),
        ("let 1 = 2; 1", r'unexpected token number\("1"\)'),
        ("let in = 2; 1", r'unexpected token name\("in"\)'),
        ("let x 2; 1", "unexpected token number"),
        ("let x = 2", "unexpected token EOF"),
        ("(let x = 1; x) + x", "unknown name x"),
        ("a ? 1", "unexpected token EOF"),
        ("max(1 2)", "unexpected token number"),
        ("all([a])", "not enough arguments to call all"),
        ("all()", "not enough arguments to call all"),
        ("all(1, {# > 1}) ? 1 : 0", "builtin all takes only array"),
        ("count(1)", "builtin count takes only array"),
        ("count([a], {# > 3)", "unexpected token"),
        ("count([a], {#})", r"invalid operation: count \(mismatched type float64\)"),
        ("count([a], {# > 3}) + #", "unexpected token"),
        ("a | b", "unknown name b"),
        ("a | 3", "unknown name 3"),
        ("a()", "unexpected token"),
        ("[a][1]", "index out of range: 1"),
        ("[a]['x']", "index out of range: x"),
        ("a[0]", "index out of range: 0"),
        ("nil", r"invalid argument for float \(type nil\)"),
        ("[1]", r"invalid argument for float \(type \[\]interface \{\}\)"),
        ("'x'", r"invalid operation: float\(x\): strconv.ParseFloat"),
        ("nil and true ? 1 : 0", "invalid operation: and"),
        ("false || 1 ? 1 : 0", r"invalid operation: \|\|"),
        ("a ?: 1", r"invalid operation: \?:"),
        ("-nil", r"invalid operation: - \(mismatched type <nil>\)"),
        ("max([1], nil)", r"invalid argument for max \(type <nil>\)"),
        ("max([[1]])", r"invalid argument for max \(type \[\]interface \{\}\)"),
        ("float()", r"invalid argument for float \(type \)"),
        ("len([1], [2])", "invalid argument for len"),
        ("1" * 41, "a number is too long"),
        ("1.." + "9" * 5, "invalid operation: 1 .. 99999"),
    ],
)
def test_what_else_is_wrong_with_a_formula(text: str, words: str) -> None:
    with pytest.raises(FormulaError, match=words):
        value(text)


def formula_error(text: str) -> str:
    try:
        value(text)
    except FormulaError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("fits", "too_much", "words"),
    [
        ("(" * 19 + "1" + ")" * 19, "(" * 20 + "1" + ")" * 20, "nested too deeply"),
        ("-" * 38 + "1", "-" * 39 + "1", "nested too deeply"),
        ("1" * 40, "1" * 41, "a number is too long"),
        ("len(1..10000)", "len(0..10000)", "invalid operation: 0 .. 10000"),
        ("1 " + " " * 4094, "1 " + " " * 4095, "at most 4096 characters"),
        ("sum(map(1..9000, {# + 0}))", "sum(map(1..10000, {# + 0}))", "too many steps"),
    ],
)
def test_a_formula_has_bounds(fits: str, too_much: str, words: str) -> None:
    assert formula_error(fits) == ""
    assert words in formula_error(too_much)


def test_strings_are_bounded_too() -> None:
    doubled = "let x = 'abcdefghij'; " + "".join(
        f"let x{n} = x{n - 1 if n > 1 else ''} + x{n - 1 if n > 1 else ''}; " for n in range(1, 10)
    )
    assert value(f"{doubled}len(x9)") == 5120
    assert "a string is too long" in formula_error(f"{doubled}len(x9 + x9)")


def test_a_formula_is_tried_with_minus_one_for_every_name() -> None:
    """That is how KEDA tries it."""
    with pytest.raises(FormulaError, match="invalid operation"):
        compiled("a ** 0.5", ["a"])
    assert compiled("abs(a) ** 0.5", ["a"]).value({"a": 4}) == 2
