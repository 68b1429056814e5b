"""Flow schemas say whether their level is there."""

from __future__ import annotations

from tiphys.api.flowcontrol_v1 import FlowSchema
from tiphys.controllers.flowschema import dangling


def test_a_level_is_there_or_not() -> None:
    schema = FlowSchema()
    schema.spec.priority_level_configuration.name = "high"
    found = dangling(schema, {"high", "low"})
    assert (found.type, found.status, found.reason) == ("Dangling", "False", "Found")
    assert found.message.endswith('object named "high" and it exists')
    missing = dangling(schema, {"low"})
    assert (missing.status, missing.reason) == ("True", "NotFound")
    assert missing.message.endswith('object named "high" but there is no such object')
