"""What stands before the server in its pods, where an endpoint asks for what the server does not do
itself: limits of requests, data capture, prompts that are read elsewhere. Pure; `front` is the
program."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from urllib.parse import urlsplit

from tiphys.addons.inference import Settings
from tiphys.addons.inference.capturing import Capture
from tiphys.addons.inference.endpoint import PORT, Endpoint, Unsupported, prefill_name, s3_of
from tiphys.addons.inference.front import Limits, Plan
from tiphys.addons.inference.prefilling import Prefill
from tiphys.addons.inference.types import v1
from tiphys.api import core_v1

_PORTS = (18080, 18081)  # the first that is not the server's
_FOLDER = "/opt/front"
_VOLUME = "front"
_PROGRAM = "tiphys.addons.inference.front"
_MODULES = ("front", "wire", "capturing", "prefilling", "loading")
_TIER = "model-pod"


def plan_of(endpoint: Endpoint, settings: Settings) -> Plan | None:
    """None where requests go to the server directly. Raises Unsupported."""
    spec = endpoint.spec
    server = spec.worker.model_invocation_port
    limits = _limits(spec.worker.request_limits)
    capture = _capture(endpoint)
    prefill = _prefill(endpoint)
    if limits is None and capture is None and prefill is None:
        return None
    if server.name == "grpc":
        raise Unsupported("requestLimits, dataCapture and pdSpec are for a port named http")
    storage = s3_of(spec, settings)
    return Plan(
        port=next(port for port in _PORTS if port != server.container_port),
        server=server.container_port,
        health=endpoint.health_path,
        limits=limits,
        capture=capture,
        s3_endpoint=storage.url,
        region=storage.region,
        prefill=prefill,
    )


def _limits(asked: v1.RequestLimits | None) -> Limits | None:
    if asked is None or not asked.max_concurrent_requests:
        return None
    return Limits(
        asked.max_concurrent_requests, asked.max_queue_size or 0, asked.overflow_status_code
    )


def _capture(endpoint: Endpoint) -> Capture | None:
    """Each endpoint writes below a name of its own."""
    spec = endpoint.spec
    asked = spec.data_capture.model_pod if spec.data_capture is not None else None
    if asked is None or not asked.enabled:
        return None
    if asked.kms_key_id:
        raise Unsupported("dataCapture.modelPod.kmsKeyId: there is no KMS here")
    uri = spec.data_capture.s3_uri if spec.data_capture is not None else None
    if not uri and spec.tls_config is not None:
        certificates = spec.tls_config.tls_certificate_output_s3_uri
        uri = f"s3://{urlsplit(certificates).netloc}" if certificates else None
    if not uri:
        raise Unsupported("dataCapture.s3Uri is missing, and so is a bucket for certificates")
    where = urlsplit(uri)
    names = (where.path.strip("/"), _TIER, endpoint.namespace, endpoint.name)
    buffer = asked.buffer_config or v1.Buffering()
    payload = asked.payload_config or v1.PayloadLimits()
    types = asked.capture_content_type_header or v1.CaptureContentTypes()
    capture = Capture(
        bucket=where.netloc,
        prefix="/".join(name for name in names if name),
        modes=tuple(one.capture_mode for one in asked.capture_options) or ("Input", "Output"),
        percentage=_percentage(asked.initial_sampling_percentage),
        batch=buffer.batch_size,
        seconds=buffer.flush_interval_seconds,
        largest=(payload.max_payload_size_kb or 0) << 10,
    )
    if types.csv_content_types or types.json_content_types:
        capture = dataclasses.replace(
            capture,
            csv_types=tuple(map(str.lower, types.csv_content_types)),
            json_types=tuple(map(str.lower, types.json_content_types)),
        )
    return capture


def _percentage(asked: int | None) -> int:
    return 100 if asked is None else asked


def _prefill(endpoint: Endpoint) -> Prefill | None:
    halves = endpoint.spec.pd_spec
    if halves is None:
        return None
    host = f"{prefill_name(endpoint.name)}.{endpoint.namespace}.svc"
    return Prefill(host, PORT, halves.routing_threshold)


# --- objects ---


def programs_of(endpoint: Endpoint) -> core_v1.ConfigMap:
    config_map = core_v1.ConfigMap(metadata=endpoint.meta(f"{endpoint.name}-front"))
    folder = Path(__file__).parent
    config_map.data = {f"{name}.py": (folder / f"{name}.py").read_text() for name in _MODULES}
    return config_map


def volume_of(endpoint: Endpoint) -> core_v1.Volume:
    """The modules where Python finds them by their names."""
    folder = _PROGRAM.rpartition(".")[0].replace(".", "/")
    items = [core_v1.KeyToPath(key=f"{name}.py", path=f"{folder}/{name}.py") for name in _MODULES]
    source = core_v1.ConfigMapVolumeSource(name=f"{endpoint.name}-front", items=items)
    return core_v1.Volume(name=_VOLUME, config_map=source)


def container_of(plan: Plan, settings: Settings) -> core_v1.Container:
    """It starts before the server and ends after it."""
    fields = {name: value for name, value in dataclasses.asdict(plan).items() if value is not None}
    variables = [
        core_v1.EnvVar(name="FRONT", value=json.dumps(fields, sort_keys=True)),
        core_v1.EnvVar(name="PYTHONPATH", value=_FOLDER),
    ]
    if plan.capture is not None:
        variables += credentials(settings)
    listens = core_v1.TCPSocketAction(port=plan.port)
    return core_v1.Container(
        name="front",
        image=settings.loader_image,
        command=["python3", "-m", _PROGRAM],
        env=variables,
        restart_policy="Always",
        ports=[core_v1.ContainerPort(name="front", container_port=plan.port)],
        startup_probe=core_v1.Probe(tcp_socket=listens, period_seconds=1, failure_threshold=60),
        volume_mounts=[core_v1.VolumeMount(name=_VOLUME, mount_path=_FOLDER, read_only=True)],
    )


def credentials(settings: Settings) -> list[core_v1.EnvVar]:
    """Those of S3. Empty where the namespace has no such Secret: some buckets are everybody's."""
    return [
        core_v1.EnvVar(
            name=name,
            value_from=core_v1.EnvVarSource(
                secret_key_ref=core_v1.SecretKeySelector(
                    name=settings.s3_secret, key=name, optional=True
                )
            ),
        )
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
