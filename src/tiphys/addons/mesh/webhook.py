"""The admission webhook that makes pods members of the mesh: over TLS, with a certificate of the
mesh's own authority, which the webhook's configuration names."""

from __future__ import annotations

from tiphys.addons.mesh import GROUP, INJECT, WEBHOOK
from tiphys.addons.mesh.injection import InjectionError, Proxy, inject
from tiphys.addons.optional import NAMESPACE
from tiphys.addons.reviews import Verdict, object_of, refusal, reviewed
from tiphys.api import admission_v1
from tiphys.api import admissionregistration_v1 as registration_v1
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from tiphys.machinery.addresses import authority

PATH = "/inject"


def review(body: bytes, proxy: Proxy) -> bytes:
    """The answer to an AdmissionReview. Raises msgspec.DecodeError for what is none."""

    def judge(asked: admission_v1.AdmissionRequest) -> Verdict:
        try:
            return Verdict(inject(object_of(asked), proxy))
        except InjectionError as error:
            raise refusal(str(error), 400, "BadRequest") from None

    return reviewed(body, judge)


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
