"""Flow schemas say whether the priority level that they name exists."""

from __future__ import annotations

import copy
from collections.abc import Set
from typing import Any

from tiphys.api.flowcontrol_v1 import FlowSchema, FlowSchemaCondition, PriorityLevelConfiguration
from tiphys.controllers.shell import Controller
from tiphys.machinery import conditions


def dangling(schema: FlowSchema, levels: Set[str]) -> FlowSchemaCondition:
    """The condition Dangling of a schema, without its time; `levels` are the names of those
    there."""
    name = schema.spec.priority_level_configuration.name
    message = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    condition = FlowSchemaCondition(type="Dangling")
    if name in levels:
        condition.status = "False"
        condition.reason = "Found"
        condition.message = f"{message} and it exists"
    else:
        condition.status = "True"
        condition.reason = "NotFound"
        condition.message = f"{message} but there is no such object"
    return condition


class FlowSchemaController(Controller):
    name = "flowschema"
    workers = 1

    def watch(self) -> None:
        self._schemas = self.informer(FlowSchema)
        self._levels = self.informer(PriorityLevelConfiguration)
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
        condition = dangling(schema, {level.metadata.name for level in self._levels})
        standing = schema.status.conditions
        status = copy.copy(schema.status)
        status.conditions = conditions.updated(standing, condition, self.context.now())
        await self.write_status(schema, status)
        return None
