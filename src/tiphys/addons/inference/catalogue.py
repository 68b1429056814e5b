"""The models of a hub: what a JumpStartModel names is looked up here.

A stand-in for SageMaker's hub, which is no public registry: the ConfigMap `jumpstart-catalogue` of
the add-ons' namespace, one model a key, its value YAML or JSON of `HubEntry`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.addons.inference.types import v1, v1alpha1
from tiphys.api import core_v1
from tiphys.api.base import Struct, from_builtins

CATALOGUE = "jumpstart-catalogue"
MODEL_SERVER = "tiphys.local/inference-server:1"
"""The small server that comes with the add-on (``image.yaml``)."""


class HubEntry(Struct):
    """How a model of the hub is served. `versions` are those that there are, the newest last."""

    image: str = MODEL_SERVER
    versions: list[str] = []
    container_port: int = 8080
    needs_eula: bool = False
    instance_types: list[str] = []
    environment: dict[str, str] = {}
    resources: core_v1.ResourceRequirements | None = None
    source: v1.ModelSource | None = None


class HubError(ValueError):
    """Why a model of the hub cannot be served. `reason` is a word for a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def entry_of(catalogue: core_v1.ConfigMap | None, model_id: str) -> HubEntry:
    """Raises HubError for a model that there is not, or that is not written as it should be."""
    text = catalogue.data.get(model_id) if catalogue is not None else None
    if text is None:
        raise HubError("UnknownModel", f"the hub has no model {model_id}")
    import yaml

    try:
        return from_builtins(yaml.safe_load(text) or {}, HubEntry)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        message = f"the entry of {model_id} in ConfigMap {CATALOGUE} cannot be read: {error}"
        raise HubError("InvalidCatalogue", message) from None


def as_endpoint(model: v1.JumpStartModel, entry: HubEntry) -> v1.InferenceEndpointConfigSpec:
    """The same in the words of one's own models. Raises HubError for what the hub refuses."""
    spec = model.spec
    _check(spec, entry)
    variables = {**entry.environment, **{one.name: one.value for one in spec.environment_variables}}
    worker = v1.Worker(
        image=entry.image,
        model_invocation_port=v1alpha1.InvocationPort(container_port=entry.container_port),
        model_volume_mount=v1alpha1.VolumeMount(name="model-weights"),
        resources=entry.resources or core_v1.ResourceRequirements(),
        environment_variables=[
            core_v1.EnvVar(name=name, value=value) for name, value in variables.items()
        ],
    )
    shared: dict[str, Any] = {
        name: getattr(spec, name)
        for name in (
            "auto_scaling_spec",
            "data_capture",
            "dns_config",
            "intelligent_routing_spec",
            "kv_cache_spec",
            "load_balancer",
            "max_deploy_time_in_seconds",
            "metrics",
            "replicas",
            "tls_config",
        )
    }
    return v1.InferenceEndpointConfigSpec(
        model_name=spec.model.model_id,
        model_version=spec.model.model_version or (entry.versions[-1] if entry.versions else None),
        endpoint_name=spec.sage_maker_endpoint.name if spec.sage_maker_endpoint else None,
        instance_type=spec.server.instance_type,
        model_source_config=entry.source or v1.ModelSource(model_source_type="kubernetesVolume"),
        worker=worker,
        **shared,
    )


def _check(spec: v1.JumpStartModelSpec, entry: HubEntry) -> None:
    model = spec.model
    instance = spec.server.instance_type
    version = model.model_version
    if version and entry.versions and version not in entry.versions:
        listed = ", ".join(entry.versions)
        message = f"the hub has {model.model_id} in {listed}, and not in {version}"
        raise HubError("UnknownModelVersion", message)
    if entry.needs_eula and not model.accept_eula:
        message = f"{model.model_id} is served to who accepts its terms: model.acceptEula"
        raise HubError("EulaNotAccepted", message)
    if entry.instance_types and instance not in entry.instance_types:
        listed = ", ".join(entry.instance_types)
        message = f"{model.model_id} runs on {listed}, and not on {instance}"
        raise HubError("UnsupportedInstanceType", message)


_SMALL = "versions: [{versions}]\nneedsEula: {eula}\n"
MODELS = {
    "deepseek-llm-r1-distill-qwen-1-5b": _SMALL.format(versions="2.0.4, 2.0.7", eula="false"),
    "huggingface-text2text-flan-t5-xl": _SMALL.format(versions="1.0.0", eula="false"),
    "meta-textgeneration-llama-3-1-8b-instruct": _SMALL.format(versions="2.6.2", eula="true"),
}
"""What the catalogue has at first: names of the original hub, served by the server that comes with
the add-on. It has no weights of theirs; whoever has them writes an entry with their `source`."""
