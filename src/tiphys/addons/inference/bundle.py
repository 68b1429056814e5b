"""All objects of an endpoint (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tiphys.addons.inference import Settings, fronting
from tiphys.addons.inference.endpoint import Endpoint
from tiphys.addons.inference.front import Plan
from tiphys.addons.inference.halves import answering, prefilling
from tiphys.addons.inference.workload import (
    deployment_of,
    inner_service_of,
    program_of,
    service_of,
)
from tiphys.api import apps_v1, core_v1


@dataclass
class Bundle:
    """`endpoint` is what clients reach, `plan` what stands before its servers, and `prefill` the
    servers that read prompts for it, if these are others."""

    endpoint: Endpoint
    service: core_v1.Service
    deployment: apps_v1.Deployment
    configs: list[core_v1.ConfigMap] = field(default_factory=list)
    plan: Plan | None = None
    prefill: Bundle | None = None

    @property
    def halves(self) -> Iterator[Bundle]:
        yield self
        if self.prefill is not None:
            yield self.prefill

    @property
    def objects(self) -> list[core_v1.ConfigMap | core_v1.Service | apps_v1.Deployment]:
        of_others = self.prefill.objects if self.prefill is not None else []
        return [*of_others, *self.configs, self.service, self.deployment]


def bundle_of(asked: Endpoint, settings: Settings) -> Bundle:
    """Raises Unsupported."""
    endpoint = answering(asked)
    plan = fronting.plan_of(endpoint, settings)
    bundle = Bundle(
        endpoint,
        service_of(endpoint, plan),
        deployment_of(endpoint, settings, plan),
        _programs(endpoint),
        plan,
    )
    if plan is not None:
        bundle.configs.append(fronting.programs_of(endpoint))
    half = prefilling(asked)
    if half is not None:
        pods = deployment_of(half, settings)
        bundle.prefill = Bundle(half, inner_service_of(half), pods, _programs(half))
    return bundle


def _programs(endpoint: Endpoint) -> list[core_v1.ConfigMap]:
    program = program_of(endpoint)
    return [program] if program is not None else []
