"""The admission webhook: jobs that could not run are refused with the paths of their fields.

Its certificate is created at each start of the add-on, and the webhook's configuration names
it. While the add-on is away jobs are let through: the operator judges them again, and a job that
cannot run fails with the same words.
"""

from __future__ import annotations

from tiphys.addons.reviews import Verdict, invalid, object_of, reviewed
from tiphys.addons.training import GROUP, WEBHOOK
from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.addons.training.validation import errors_of
from tiphys.api import admission_v1
from tiphys.api import admissionregistration_v1 as registration_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.addresses import authority

PATH = "/validate"


def review(body: bytes) -> bytes:
    """The answer to an AdmissionReview. Raises msgspec.DecodeError for what is none."""
    return reviewed(body, _judge)


def _judge(asked: admission_v1.AdmissionRequest) -> Verdict:
    """Raises Refused."""
    job = from_builtins(object_of(asked), HyperPodPyTorchJob)
    job.metadata.name = job.metadata.name or asked.name or "generated"
    wrong = errors_of(job) if not job.metadata.deletion_timestamp else []
    if wrong:
        raise invalid(GROUP, HyperPodPyTorchJob.__name__, job.metadata.name, wrong)
    return Verdict()


def configuration() -> registration_v1.ValidatingWebhookConfiguration:
    """What is installed: `webhooks` come when the server listens. The add-on's account may change
    it, and create none."""
    return registration_v1.ValidatingWebhookConfiguration(metadata=ObjectMeta(name=WEBHOOK))


def webhooks(address: str, port: int, root: str) -> list[registration_v1.ValidatingWebhook]:
    hook = registration_v1.ValidatingWebhook(
        name=WEBHOOK,
        client_config=registration_v1.WebhookClientConfig(
            url=f"https://{authority(address, port)}{PATH}", ca_bundle=root.encode()
        ),
        rules=[
            registration_v1.RuleWithOperations(
                operations=["CREATE", "UPDATE"],
                api_groups=[GROUP],
                api_versions=["v1"],
                resources=["hyperpodpytorchjobs"],
                scope="Namespaced",
            )
        ],
        failure_policy="Ignore",
        match_policy="Equivalent",
        side_effects="None",
        timeout_seconds=5,
        admission_review_versions=["v1"],
    )
    return [hook]
