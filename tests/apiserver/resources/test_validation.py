"""Every rule of docs/validation.md, broken once: it is all that is complained of.

That a server answers with it is in `tests/apiserver/test_validation.py`.
"""

from __future__ import annotations

import pytest

from tests.apiserver.rules import wrong_with, wrong_with_change
from tests.apiserver.validation import TABLE, Case

# Given by the registry, of which these tests have none: an address that a service has already.
TAKEN = "spec.clusterIPs[0]"
MORE = (
    "spec.dataSource",
    "spec.dataSource.name",
    "spec.completions",
    "spec.template",
    "metadata.generateName",
)
EVERY = [case for rules in TABLE for case in rules.cases if case.field != TAKEN]


def complaints(case: Case) -> list[str]:
    if case.before is None:
        return wrong_with(case.resource, case.parts)
    return wrong_with_change(case.resource, case.before, case.parts)


def is_it(case: Case, complaint: str) -> bool:
    field, _, text = complaint.partition(": ")
    return field == case.field.rstrip(".") and case.says.strip() in text


def along(case: Case, complaint: str) -> bool:
    """Whether a complaint is about a field beside the case's, which its mistake breaks, too."""
    field = complaint.partition(":")[0]
    return field.split("[")[0].split(".")[:2] == case.field.split("[")[0].split(".")[:2]


@pytest.mark.parametrize("resource", sorted({case.resource for case in EVERY}))
def test_a_broken_rule_is_all_that_is_complained_of(resource: str) -> None:
    for case in (each for each in EVERY if each.resource == resource):
        found = complaints(case)
        assert any(is_it(case, each) for each in found), (case, found)
        others = [each for each in found if not is_it(case, each) and not along(case, each)]
        assert others == [] or case.field in MORE, (case, others)
