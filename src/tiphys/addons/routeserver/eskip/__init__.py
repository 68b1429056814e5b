"""eskip, the text in which Skipper's routes are written: `reading` takes it apart, `writing` puts it together.

The grammar and the meaning of equality are those of Skipper's own package of that name. Pure; imports nothing of ours.
"""

from tiphys.addons.routeserver.eskip.reading import (
    EskipError,
    read_filters,
    read_predicates,
    read_routes,
)
from tiphys.addons.routeserver.eskip.route import Backend, Call, Endpoint, Route
from tiphys.addons.routeserver.eskip.writing import route_text, table_text

__all__ = [
    "Backend",
    "Call",
    "Endpoint",
    "EskipError",
    "Route",
    "read_filters",
    "read_predicates",
    "read_routes",
    "route_text",
    "table_text",
]
