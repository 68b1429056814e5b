"""The admission webhook that makes pods members of the mesh: over TLS, with a certificate of the
mesh's own authority, which the webhook's configuration names."""

from __future__ import annotations

import msgspec

from tiphys.addons.mesh import GROUP, INJECT, WEBHOOK
from tiphys.addons.mesh.injection import InjectionError, Proxy, inject
from tiphys.addons.optional import NAMESPACE
from tiphys.api import admission_v1
from tiphys.api import admissionregistration_v1 as registration_v1
from tiphys.api.base import decode, encode
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta, Status
from tiphys.machinery.addresses import authority

PATH = "/inject"


def review(body: bytes, proxy: Proxy) -> bytes:
    """The answer to an AdmissionReview. Raises msgspec.DecodeError for what is none."""
    asked = decode(body, admission_v1.AdmissionReview).request
    if asked is None or not isinstance(asked.object, dict):
        raise msgspec.DecodeError("a review holds a request with an object")
    response = admission_v1.AdmissionResponse(uid=asked.uid, allowed=True)
    try:
        operations = inject(asked.object, proxy)
    except InjectionError as error:
        response.allowed = False
        response.status = Status(message=str(error), code=400, reason="BadRequest")
    else:
        if operations:
            response.patch_type = "JSONPatch"
            response.patch = msgspec.json.encode(operations)
    return encode(admission_v1.AdmissionReview(response=response))


def configuration(
    address: str, port: int, root: str
) -> registration_v1.MutatingWebhookConfiguration:
    """Pods of namespaces with the label are not created while the webhook is away: one without a
    sidecar would speak and be spoken to in the open."""
    hook = registration_v1.MutatingWebhook(
        name=f"inject.{GROUP}",
        client_config=registration_v1.WebhookClientConfig(
            url=f"https://{authority(address, port)}{PATH}", ca_bundle=root.encode()
        ),
        rules=[
            registration_v1.RuleWithOperations(
                operations=["CREATE"],
                api_groups=[""],
                api_versions=["v1"],
                resources=["pods"],
                scope="Namespaced",
            )
        ],
        failure_policy="Fail",
        match_policy="Equivalent",
        side_effects="None",
        timeout_seconds=10,
        admission_review_versions=["v1"],
        reinvocation_policy="IfNeeded",
        namespace_selector=LabelSelector(
            match_labels={INJECT: "enabled"},
            match_expressions=[
                LabelSelectorRequirement(
                    key="kubernetes.io/metadata.name",
                    operator="NotIn",
                    values=["kube-system", NAMESPACE],
                )
            ],
        ),
    )
    return registration_v1.MutatingWebhookConfiguration(
        metadata=ObjectMeta(name=WEBHOOK), webhooks=[hook]
    )
