"""The rules that objects have to follow, by type, each with a case that breaks it and what the answer
then says.

The facts (which fields, which values, which words) are those of the release; `source` names where
they are kept there, below pkg/apis or the like. ``python -m tests.apiserver.validation`` writes
docs/validation.md from these tables.
"""

from __future__ import annotations

from tests.apiserver.validation import (
    configuration,
    containers,
    devices,
    metadata,
    network,
    pods,
    services,
    storage,
    volumes,
    workloads,
)
from tests.apiserver.validation.cases import Case, Rules

__all__ = ["TABLE", "Case", "document"]

TABLE: list[Rules] = [
    metadata.METADATA,
    pods.PODS,
    containers.CONTAINERS,
    containers.PROBES,
    volumes.VOLUMES,
    pods.PLACEMENT,
    pods.CHANGES,
    services.SERVICES,
    workloads.WORKLOADS,
    storage.STORAGE,
    network.NETWORK,
    configuration.CONFIGURATION,
    configuration.FLOW,
    devices.DEVICES,
]


def document() -> str:
    """docs/validation.md."""
    from tiphys.api.catalog import RESOURCES

    kinds = {r.group_resource: r.kind for r in RESOURCES}
    lines = [
        "# What objects have to be like", "",
        "The rules by type, each with a case that a test breaks (`tests/apiserver/validation/`, from which this page is",
        "written). What the answer says is upstream's wording. Rules that are not kept yet stand below each table. Custom",
        "resource definitions, webhooks and admission policies have tests of their own.",
    ]
    for rules in TABLE:
        lines += ["", f"## {rules.title}", "", f"Source of the facts: {rules.source}.", "", "| kind | field | what the answer says |", "| --- | --- | --- |"]
        for case in rules.cases:
            when = " (on update)" if case.before is not None else ""
            lines.append(f"| {kinds[case.resource]} | `{case.field}`{when} | {case.says.strip()} |")
        if rules.gaps:
            lines += ["", f"Not kept yet: {'; '.join(rules.gaps)}."]
    return "\n".join(lines) + "\n"
