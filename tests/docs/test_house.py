"""One mechanism for one job: what no other check notices is found here by reading the source."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tiphys"
Finder = Callable[[ast.AST], Iterator[ast.AST]]


@functools.cache
def sources() -> dict[str, str]:
    return {str(p.relative_to(SOURCE)): p.read_text() for p in sorted(SOURCE.rglob("*.py"))}


def comparisons(tree: ast.AST) -> Iterator[tuple[ast.Compare, list[ast.expr]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield node, [node.left, *node.comparators]


def constants(side: ast.expr) -> list[object]:
    return [node.value for node in ast.walk(side) if isinstance(node, ast.Constant)]


def attribute(side: ast.expr, *names: str) -> bool:
    return isinstance(side, ast.Attribute) and side.attr in names


def errors_by_number(tree: ast.AST) -> Iterator[ast.AST]:
    """`error.code == 404`, `failure.code in (404, 409)`, and the same with names for numbers."""
    for node, sides in comparisons(tree):
        if any(attribute(side, "code") and "rror" in ast.unparse(side) for side in sides):
            yield node


def errors_by_reason(tree: ast.AST) -> Iterator[ast.AST]:
    reasons = {"NotFound", "Conflict", "AlreadyExists", "Expired", "Forbidden", "Invalid"}
    for node, sides in comparisons(tree):
        if any(attribute(side, "reason") for side in sides):
            if any(reasons.intersection(map(str, constants(side))) for side in sides):
                yield node


def conditions_by_hand(tree: ast.AST) -> Iterator[ast.AST]:
    """`next(c for c in status.conditions if c.type == ...)` and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension | ast.For) and attribute(node.iter, "conditions"):
            body = node.ifs if isinstance(node, ast.comprehension) else node.body
            if any(mentions_type(part, ast.unparse(node.target)) for part in body):
                yield node.iter


def mentions_type(part: ast.AST, target: str) -> bool:
    return any(
        isinstance(side, ast.Attribute) and ast.unparse(side) == f"{target}.type"
        for _, sides in comparisons(part)
        for side in sides
        if any(isinstance(other, ast.Constant) for other in sides)
    )


def finished_by_hand(tree: ast.AST) -> Iterator[ast.AST]:
    """`pod.status.phase in ("Succeeded", "Failed")`, and the conditions of jobs."""
    for node, sides in comparisons(tree):
        for side in sides:
            if {*constants(side)} in ({"Succeeded", "Failed"}, {"Complete", "Failed"}):
                yield node


def kinds_of_rows(tree: ast.AST) -> Iterator[ast.AST]:
    """`isinstance(resource, CustomResource)`: an attribute of the row says it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            if ast.unparse(node.args[1]).split(".")[-1] == "CustomResource":
                yield node


@pytest.mark.parametrize(
    ("find", "word", "home", "instead"),
    [
        (errors_by_number, ".code", "machinery/errors.py", "errors.is_not_found and its like"),
        (errors_by_reason, ".reason", "machinery/errors.py", "errors.is_not_found and its like"),
        (conditions_by_hand, ".conditions", "machinery/conditions.py", "conditions.find, is_true"),
        (finished_by_hand, '"Failed"', "machinery/finished.py", "finished.is_final, finish_of"),
        (kinds_of_rows, "CustomResource)", "", "an attribute of the row"),
    ],
)
def test_a_job_has_one_mechanism(find: Finder, word: str, home: str, instead: str) -> None:
    """`word` is in every file that could break the rule: the others need no parsing."""
    places = [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, text in sources().items()
        if name != home and word in text
        for node in find(ast.parse(text))
    ]
    assert not places, f"use {instead}"


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (errors_by_number, "error.code == 404"),
        (errors_by_number, "error.code not in (NOT_FOUND, CONFLICT)"),
        (errors_by_reason, "error.reason != 'AlreadyExists'"),
        (conditions_by_hand, "next(c for c in pod.status.conditions if c.type == 'Ready')"),
        (conditions_by_hand, "for c in s.conditions:\n  if c.type == 'Ready': pass"),
        (finished_by_hand, "pod.status.phase in ('Failed', 'Succeeded')"),
        (kinds_of_rows, "isinstance(resource, CustomResource)"),
    ],
)
def test_what_is_looked_for_is_found(find: Finder, source: str) -> None:
    assert list(find(ast.parse(source)))


TESTS = Path(__file__).parents[1]


def test_what_tests_share_is_in_no_test_module() -> None:
    """What another file needs stands in a module named after it: `builders`, `world`, `readmes`."""
    imports_a_test = re.compile(r"^\s*(from|import) (\S+\.)?test_\w+", re.MULTILINE)
    importing = {
        str(file.relative_to(TESTS)): found.group().strip()
        for file in sorted(TESTS.rglob("*.py"))
        if (found := imports_a_test.search(file.read_text()))
    }
    assert not importing
