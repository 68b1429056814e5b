"""Flow schemas say whether the priority level they name exists."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api.flowcontrol_v1 import FlowSchema, FlowSchemaCondition, PriorityLevelConfiguration
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps


def dangling(schema: FlowSchema, levels: set[str]) -> tuple[str, str, str]:
    """(status, reason, message) of the condition Dangling."""
    name = schema.spec.priority_level_configuration.name
    about = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    if name in levels:
        return "False", "Found", f"{about} and it exists"
    return "True", "NotFound", f"{about} but there is no such object"


class FlowSchemaController(Controller):
    name = "flowschema"
    workers = 1

    def watch(self) -> None:
        self._schemas, self._levels = (
            self.informer(FlowSchema),
            self.informer(PriorityLevelConfiguration),
        )
        self._schemas.on_change(self.enqueue)
        self._levels.on_change(self._level_changed)

    def _level_changed(self, old: Any, new: Any) -> None:
        if old is None or new is None:
            for schema in self._schemas:
                self.enqueue(None, schema)

    async def reconcile(self, key: str) -> float | None:
        schema = self._schemas.get(key)
        if schema is None:
            return None
        status, reason, message = dangling(schema, {level.metadata.name for level in self._levels})
        standing = next((c for c in schema.status.conditions if c.type == "Dangling"), None)
        if standing is not None and (standing.status, standing.reason, standing.message) == (
            status,
            reason,
            message,
        ):
            return None
        changed = copy.deepcopy(schema)
        fresh = FlowSchemaCondition(
            type="Dangling",
            status=status,
            reason=reason,
            message=message,
            last_transition_time=timestamps.rfc3339(self.context.now()),
        )
        changed.status.conditions = [
            *(c for c in schema.status.conditions if c.type != "Dangling"),
            fresh,
        ]
        await self.client.update_status(changed)
        return None
