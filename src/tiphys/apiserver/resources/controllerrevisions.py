"""Controller revisions."""

from __future__ import annotations

from tiphys.api.apps_v1 import ControllerRevision
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery.errors import FieldError


def _controller(revision: ControllerRevision) -> str:
    for owner in revision.metadata.owner_references:
        if owner.controller:
            group = owner.api_version.split("/")[0]
            return f"{owner.kind.lower()}.{group}/{owner.name}"
    return "<none>"


class ControllerRevisionStrategy(Strategy[ControllerRevision]):
    columns = (
        NAME,
        Column("Controller", _controller),
        Column("Revision", lambda o: o.revision),
        AGE,
    )

    def validate(self, obj: ControllerRevision) -> list[FieldError]:
        violations = checks.required(obj.data, "data", "data is mandatory")
        return violations + checks.natural(obj.revision, "revision")

    def validate_update(self, new: ControllerRevision, old: ControllerRevision) -> list[FieldError]:
        return immutable("data", new.data, old.data)
