"""What rules may cost at most: the numbers that upstream's estimator comes to."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import resource_v1
from tiphys.apiserver.resources import devices
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.declared import at_most, declared, least
from tiphys.machinery.structural import compile_schema

Facts = dict[str, Any]
TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
PAIR = {
    "type": "object",
    "required": ["required"],
    "properties": {"required": TEXT, "optional": TEXT},
}
SPAN, DAY, MOMENT = (
    {"type": "string", "format": form} for form in ("duration", "date", "date-time")
)


def listed(items: Facts, most: int | None = None) -> Facts:
    return {"type": "array", "items": items, **({"maxItems": most} if most is not None else {})}


def mapped(items: Facts, most: int | None = None) -> Facts:
    return {
        "type": "object",
        "additionalProperties": items,
        **({"maxProperties": most} if most is not None else {}),
    }


def text(most: int, **more: Any) -> Facts:
    return {"type": "string", "maxLength": most, **more}


def struct(**properties: Facts) -> Facts:
    return {"type": "object", "properties": properties}


def cost(rule: str, facts: Facts) -> int:
    schema = compile_schema(facts)
    names = ("self", "oldSelf")
    return check(
        rule, dict.fromkeys(names, type_of(schema)), None, dict.fromkeys(names, declared(schema))
    )


@pytest.mark.parametrize(
    ("rule", "facts", "most"),
    [
        # How many elements a request holds depends on the least that one takes.
        ("self.all(x, true)", listed(NUMBER), 4718591),
        ("self.all(x, true)", listed(TEXT), 3145727),
        ("self.all(x, true)", listed(FLAG), 1887437),
        ("self.all(x, true)", listed(listed(NUMBER)), 3145727),
        ("self.all(x, true)", listed(PAIR), 555128),
        ("self.all(x, true)", mapped(NUMBER), 1348169),
        ("self.all(x, true)", mapped(TEXT), 1179647),
        ("self.all(x, true)", listed(SPAN), 2359295),
        ("self.all(x, true)", listed(DAY), 725936),
        ("self.all(x, true)", listed(MOMENT), 428963),
        ("self.all(x, true)", listed(NUMBER, 10), 32),
        ("self.all(x, self.all(y, true))", listed(NUMBER, 10), 352),
        ("self.all(x, self.all(y, self.all(z, true)))", listed(NUMBER, 10), 3552),
        # A constant is free, has() costs its operand, and equal scalars that a schema declares cost
        # nothing.
        ("1 == 1", TEXT, 1),
        ("has(self.a)", struct(a=TEXT), 1),
        ("has(self.a) || has(self.b) || has(self.c)", struct(a=TEXT, b=TEXT, c=TEXT), 3),
        ("self[1] == 0.0", listed(NUMBER), 2),
        ("self[1] == self[1]", listed(TEXT), 314577),
        ('self["a"] == self["b"]', mapped(MOMENT), 8),
        ("oldSelf.size() == self.size()", mapped(NUMBER), 5),
        # What reads a text costs a tenth of its length.
        ("self.startsWith('test')", TEXT, 2),
        ("size(self + 'hello') > size('hello')", TEXT, 314578),
        ("size(self + 'hello') > size('hello')", text(4), 7),
        ("self.matches('x')", TEXT, 314574),
        ("self.matches('')", TEXT, 1),
        ("self.all(x, x.contains(self[x]))", mapped(TEXT), 2752507),
        ("self.find('[0-9]+') == ''", TEXT, 629147),
        ("self.join(' ') == 'aa bb'", listed(TEXT), 329853068905),
        ("self.join(' ') == 'aa bb'", listed(text(10), 10), 43),
        ("self.isSorted() == true", listed(TEXT), 329854432052),
        ("self.isSorted() == true", listed(text(10), 10), 52),
        (
            "self.s.replace(self.b, self.a) == 'does not matter'",
            struct(s=TEXT, b=text(2), a=text(4)),
            629154,
        ),
        (
            "self.s.replace(self.b, self.a) == 'does not matter'",
            struct(s=text(4), b=text(2), a=text(4)),
            12,
        ),
        ("self.s.split(self.t) == []", struct(s=TEXT, t=TEXT), 629160),
        ("self.lowerAscii() == 'lower!'", text(10), 6),
        ("self.contains('A')", {"type": "string", "enum": ["A", "LongValue"]}, 2),
        ("isQuantity(self)", {"x-kubernetes-int-or-string": True, "maxLength": 20}, 9),
        ("isQuantity(self)", {"x-kubernetes-int-or-string": True}, 314574),
        # What a macro makes costs what it expands to.
        ("[1, 2].map(x, x).size()", TEXT, 48),
        ("[1, 2].filter(x, x > 1).size()", TEXT, 52),
        ("[1, 2].exists_one(x, x > 1)", TEXT, 20),
        ("sets.contains(['a'], ['b'])", TEXT, 22),
    ],
)
def test_estimates(rule: str, facts: Facts, most: int) -> None:
    assert cost(rule, facts) == most


def test_a_condition_costs_itself_and_the_dearer_branch() -> None:
    facts = struct(a=text(10), b=text(100))
    assert cost("has(self.a) ? self.a.startsWith(self.b) : true", facts) == 1 + 2 + 2 + 40
    assert cost("has(self.a) ? true : self.a.startsWith(self.b)", facts) == 1 + 2 + 2 + 40


def test_every_object_takes_at_least_its_required_fields() -> None:
    schema = compile_schema(struct(a=TEXT, b=NUMBER) | {"required": ["a", "b"]})
    assert least(schema) == 2 + (1 + 2 + 4) + (1 + 1 + 4)
    assert at_most(schema) == 3 * 1024 * 1024 // 16
    defaulted = compile_schema(struct(a=TEXT | {"default": "x"}) | {"required": ["a"]})
    assert least(defaulted) == 2


def test_what_comes_from_nowhere_is_as_large_as_the_whole() -> None:
    """A quirk of upstream's: an element of a conditional list has the size of the object that the
    rule is about."""
    rule = "(has(self.a) ? self.a : []).exists(k, k.contains('/'))"
    assert cost(rule, struct(a=listed(TEXT, 256))) == (1 + 10) + 256 * (4 + 1) + 1


@pytest.mark.parametrize(
    "text", ["device.attributes['d'].model.matches('^a.*b$')", "device.driver.contains('gpu')"]
)
def test_selectors_of_devices_are_bounded_by_what_a_device_may_say(text: str) -> None:
    selector = resource_v1.DeviceSelector(
        cel=resource_v1.CELDeviceSelector(expression=f"{text} && true")
    )
    assert devices._selector(selector, "s") == []
    many = " && ".join(
        f"device.attributes.all(a, device.attributes.all(b, {text}))" for _ in range(99)
    )
    selector = resource_v1.DeviceSelector(cel=resource_v1.CELDeviceSelector(expression=many))
    [error] = devices._selector(selector, "s")
    assert error.detail == "Forbidden: too complex, exceeds cost limit"
