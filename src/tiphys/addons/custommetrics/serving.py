"""What the API server asks: which metrics there are, and those of one object or of all that a
selector chooses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from tiphys.addons.aggregated import AggregatedServer, failure, group_document, resource_list
from tiphys.addons.custommetrics import GROUP, SERVICE, VERSIONS
from tiphys.addons.custommetrics.answers import Value, resource_rows, value_list
from tiphys.addons.custommetrics.asking import Prometheus, PrometheusError
from tiphys.addons.custommetrics.catalog import Catalog, Source
from tiphys.addons.custommetrics.resources import Resource, Resources, discovered
from tiphys.addons.custommetrics.rules import Rule, RuleError
from tiphys.api import catalog as kinds
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import Requirement, SelectorError, parse_labels

log = logging.getLogger(__name__)

_ALL = "*"
_AGE = 600.0  # seconds for which a metric is listed after its last sample, as the adapter's default
_SOONEST = 5.0  # seconds between two lists that a question for an unknown metric may cause


class NotFound(Exception):
    """There is no such metric, or none of that object; the text is the adapter's."""


class Server:
    """`rules` in the order of their configuration."""

    def __init__(
        self,
        client: Client,
        prometheus: Prometheus,
        rules: Sequence[Rule],
        now: Callable[[], float],
    ) -> None:
        self._client = client
        self._prometheus = prometheus
        self._rules = rules
        self._now = now
        self._relisting = asyncio.Lock()
        self._listed = 0.0
        self.catalog = Catalog(Resources(()), ())
        self.server = AggregatedServer(SERVICE, "Tiphys custom metrics")
        router = self.server.router
        router.add_get(f"/apis/{GROUP}", self._versions)
        for version in VERSIONS:
            root = f"/apis/{GROUP}/{version}"
            router.add_get(root, self._resources)
            router.add_get(f"{root}/{{resource}}/{{name}}/{{metric}}", self._metric)
            inside = f"{root}/namespaces/{{namespace}}"
            router.add_get(f"{inside}/metrics/{{metric}}", self._metric_of_namespace)
            router.add_get(f"{inside}/{{resource}}/{{name}}/{{metric}}", self._metric)

    async def relist(self, oldest: float = 0.0) -> None:
        """Asks Prometheus what it has, if that was not done in the last `oldest` seconds. Raises
        PrometheusError, StatusError and Unreachable."""
        async with self._relisting:
            now = self._now()
            if now - self._listed < oldest:
                return
            self._listed = now
            known = await discovered(self._client)
            start = now - _AGE
            series_by_rule = [
                (rule, await self._prometheus.series(rule.series_query, start))
                for rule in self._rules
            ]
            self.catalog = Catalog(known, series_by_rule)

    # --- queries ---

    async def _versions(self, request: web.Request) -> web.Response:
        return group_document(GROUP, VERSIONS)

    async def _resources(self, request: web.Request) -> web.Response:
        return resource_list(request.path.removeprefix("/apis/"), resource_rows(self.catalog))

    async def _metric(self, request: web.Request) -> web.Response:
        path = request.match_info
        namespace = path.get("namespace", "")
        return await self._answered(
            request, namespace, path["resource"], path["name"], path["metric"]
        )

    async def _metric_of_namespace(self, request: web.Request) -> web.Response:
        path = request.match_info
        return await self._answered(request, "", "namespaces", path["namespace"], path["metric"])

    async def _answered(
        self, request: web.Request, namespace: str, resource: str, name: str, metric: str
    ) -> web.Response:
        version = request.path.split("/")[3]
        try:
            selector = parse_labels(request.query.get("metricLabelSelector", ""))
            wanted = parse_labels(request.query.get("labelSelector", ""))
            values = await self._values(
                namespace, resource, name, metric, str(wanted), selector.requirements
            )
        except NotFound as error:
            return failure(404, "NotFound", str(error))
        except (SelectorError, RuleError) as error:
            return failure(400, "BadRequest", str(error))
        except StatusError as error:
            return failure(error.code, error.reason, str(error))
        except (PrometheusError, Unreachable) as error:
            log.warning("metric %s: %s", metric, error)
            return failure(500, "InternalError", "Internal error occurred: unable to fetch metrics")
        time = timestamps.rfc3339(self._now())
        shown = _label_selector(selector.requirements)
        return web.json_response(value_list(version, metric, values, time, shown))

    async def _values(
        self,
        namespace: str,
        resource_name: str,
        name: str,
        metric: str,
        wanted: str,
        selector: Sequence[Requirement],
    ) -> list[Value]:
        resource, source = await self._source(namespace, resource_name, metric)
        if name != _ALL:
            values = await self._of(resource, source, namespace, [name], selector)
            if not values:
                raise NotFound(
                    f"the server could not find the metric {metric} for {resource_name} {name}"
                )
            return values
        names = await self._names(resource, namespace, wanted)
        return await self._of(resource, source, namespace, names, selector) if names else []

    async def _source(
        self, namespace: str, resource_name: str, metric: str
    ) -> tuple[Resource, Source]:
        """Where a metric comes from; what is not known may be new."""
        for oldest in (None, _SOONEST):
            if oldest is not None:
                await self.relist(oldest)
            resource = self.catalog.known.named(resource_name)
            source = self.catalog.source(resource, namespace, metric) if resource else None
            if resource is not None and source is not None:
                return resource, source
        raise NotFound(f"the server could not find the metric {metric} for {resource_name}")

    async def _of(
        self,
        resource: Resource,
        source: Source,
        namespace: str,
        names: Sequence[str],
        selector: Sequence[Requirement],
    ) -> list[Value]:
        """Those of the objects that Prometheus knows, in the order of their names."""
        asked = self.catalog.question(source, resource, namespace, names, selector)
        samples = await self._prometheus.query(asked.query, self._now())
        numbers = {sample.labels.get(asked.label, ""): sample.value for sample in samples}
        return [
            Value(resource, namespace, name, numbers[name]) for name in names if name in numbers
        ]

    async def _names(self, resource: Resource, namespace: str, labels: str) -> list[str]:
        """The objects that a selector chooses. Raises StatusError and Unreachable."""
        listed = await self._client.list(
            PartialObjectMetadata,
            namespace,
            labels,
            resource=kinds.Resource(
                resource.group,
                resource.version,
                resource.plural,
                resource.kind,
                namespaced=resource.is_namespaced,
            ),
        )
        return sorted(item.metadata.name for item in listed.items)


_OPERATORS = {"!=": "NotIn", "notin": "NotIn", "in": "In", "exists": "Exists", "!": "DoesNotExist"}


def _label_selector(requirements: Sequence[Requirement]) -> dict[str, Any] | None:
    """A LabelSelector in the names of JSON."""
    if not requirements:
        return None
    equal = {one.key: one.values[0] for one in requirements if one.operator == "="}
    others = [
        {
            "key": one.key,
            "operator": _OPERATORS[one.operator],
            **({"values": list(one.values)} if one.values else {}),
        }
        for one in requirements
        if one.operator in _OPERATORS
    ]
    shown = {"matchLabels": equal, "matchExpressions": others}
    return {key: value for key, value in shown.items() if value}
