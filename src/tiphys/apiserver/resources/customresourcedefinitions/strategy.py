"""Custom resource definitions."""

from __future__ import annotations

import hashlib

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import encode
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.eventloop.workers import Workers
from tiphys.apiserver.http.request import warn
from tiphys.apiserver.resources.base import Settings, Strategy, immutable
from tiphys.apiserver.resources.columns import CREATED_DATE, NAME
from tiphys.apiserver.resources.customresourcedefinitions.rules import (
    FINALIZER,
    approval,
    approval_errors,
    judged,
    stored_version_errors,
)
from tiphys.machinery import conditions
from tiphys.machinery.errors import FieldError


class CustomResourceDefinitionStrategy(Strategy[v1.CustomResourceDefinition]):
    columns = (NAME, CREATED_DATE)

    generation = True
    slow = True
    table_of_metadata = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # Digest of a definition → what is wrong with it, until `validate` asks.
        self._judged: dict[bytes, list[FieldError]] = {}

    async def deliberate(
        self,
        new: v1.CustomResourceDefinition,
        old: v1.CustomResourceDefinition | None,
        workers: Workers,
    ) -> None:
        """Has a large definition validated in a worker process."""
        if old is not None and await aside(_same_spec, new, old):
            return
        data = await aside(encode, new)
        if len(data) <= _LARGE:
            return
        violations, warnings = await workers.judge_definition(data)
        digest = await aside(_digest, data)
        self._judged[digest] = [FieldError(*row) for row in violations]
        for text in warnings:
            warn(text)

    def default(self, obj: v1.CustomResourceDefinition) -> None:
        names = obj.spec.names
        names.singular = names.singular or names.kind.lower()
        names.list_kind = names.list_kind or (f"{names.kind}List" if names.kind else "")
        if obj.spec.conversion is None:
            obj.spec.conversion = v1.CustomResourceConversion(strategy="None")
        webhook = obj.spec.conversion.webhook
        if (
            webhook is not None
            and webhook.client_config is not None
            and webhook.client_config.service is not None
        ):
            service = webhook.client_config.service
            service.port = 443 if service.port is None else service.port
        for version in obj.spec.versions:
            scale = version.subresources.scale if version.subresources else None
            if scale is not None and scale.label_selector_path == "":
                scale.label_selector_path = None

    def prepare_for_create(self, obj: v1.CustomResourceDefinition) -> None:
        obj.status = v1.CustomResourceDefinitionStatus()
        _note_storage(obj)

    def prepare_for_update(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> None:
        import copy

        new.status = copy.deepcopy(old.status)
        _note_storage(new)

    def held(self, obj: v1.CustomResourceDefinition) -> bool:
        return not obj.metadata.deletion_timestamp  # the objects go first

    def mark_deleted(self, obj: v1.CustomResourceDefinition) -> None:
        if FINALIZER not in obj.metadata.finalizers:
            obj.metadata.finalizers.append(FINALIZER)

    def validate(self, obj: v1.CustomResourceDefinition) -> list[FieldError]:
        return self._judgement(obj) + approval_errors(obj)

    def _judgement(self, obj: v1.CustomResourceDefinition) -> list[FieldError]:
        known = self._judged.pop(_digest(encode(obj)), None) if self._judged else None
        return judged(obj) if known is None else known

    def validate_change(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> list[FieldError]:
        # What has been let in before, perhaps under rules that were fewer, does not stand in the
        # way of other changes.
        violations = [] if _same_spec(new, old) else self._judgement(new)
        reviewed = approval(old.spec.group, old.metadata.annotations)
        review = approval(new.spec.group, new.metadata.annotations)
        if review is not None and (reviewed is None or review.reason != reviewed.reason):
            violations += approval_errors(new)
        return violations + self.validate_update(new, old)

    def validate_update(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> list[FieldError]:
        violations = immutable("spec.group", new.spec.group, old.spec.group)
        violations += immutable("spec.names.plural", new.spec.names.plural, old.spec.names.plural)
        if conditions.is_true(old.status.conditions, "Established"):
            violations += immutable("spec.scope", new.spec.scope, old.spec.scope)
            violations += immutable("spec.names.kind", new.spec.names.kind, old.spec.names.kind)
        return violations

    def validate_status(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> list[FieldError]:
        return stored_version_errors(new)


_LARGE = 8 << 10  # bytes of a definition whose validation would hold the event loop


def _same_spec(new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition) -> bool:
    return new.spec is old.spec or new.spec == old.spec


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _note_storage(obj: v1.CustomResourceDefinition) -> None:
    storage = next((version.name for version in obj.spec.versions if version.storage), None)
    if storage is not None and storage not in obj.status.stored_versions:
        obj.status.stored_versions.append(storage)
