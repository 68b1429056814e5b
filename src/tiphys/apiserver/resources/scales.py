"""Scale, which is no resource of its own but a path below others (`scaleviews`). It has a table
like one.
"""

from __future__ import annotations

from tiphys.api.autoscaling_v1 import Scale
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column


class ScaleStrategy(Strategy[Scale]):
    columns = (
        NAME,
        Column("Desired", lambda scale: scale.spec.replicas, type="integer"),
        Column("Available", lambda scale: scale.status.replicas, type="integer"),
        AGE,
    )
