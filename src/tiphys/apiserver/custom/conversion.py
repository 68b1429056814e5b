"""Custom objects between the versions of their definition: by name alone, or as a webhook says."""

from __future__ import annotations

import uuid
from typing import Any

from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.proxying.webhooks import WebhookCaller, WebhookError
from tiphys.machinery import errors

_SECONDS = 30.0
_KEPT = ("name", "namespace", "uid")  # what a webhook may not touch


async def convert(
    resource: CustomResource, objects: list[dict[str, Any]], wanted: str, caller: WebhookCaller
) -> list[dict[str, Any]]:
    """The objects, plain, in the apiVersion `wanted`. Raises StatusError when the webhook fails."""
    foreign = [obj for obj in objects if obj.get("apiVersion") != wanted]
    if not foreign:
        return objects
    if resource.webhook is None:
        return [{**obj, "apiVersion": wanted} for obj in objects]
    answers = iter(await _ask(resource, foreign, wanted, caller))
    return [obj if obj.get("apiVersion") == wanted else next(answers) for obj in objects]


async def _ask(
    resource: CustomResource, objects: list[dict[str, Any]], wanted: str, caller: WebhookCaller
) -> list[dict[str, Any]]:
    webhook = resource.webhook
    assert webhook is not None
    version = next((v for v in webhook.conversion_review_versions if v in ("v1", "v1beta1")), "v1")
    review = {
        "kind": "ConversionReview",
        "apiVersion": f"apiextensions.k8s.io/{version}",
        "request": {"uid": str(uuid.uuid4()), "desiredAPIVersion": wanted, "objects": objects},
    }
    where = f"conversion webhook for {objects[0].get('apiVersion')}, Kind={resource.kind} failed: "
    try:
        answer = (await caller.call(webhook.client_config, review, _SECONDS)).get("response") or {}
    except WebhookError as error:
        raise errors.internal(where + str(error)) from None
    result = answer.get("result") or {}
    if result.get("status") != "Success":
        raise errors.internal(where + str(result.get("message") or "unknown reason"))
    converted = answer.get("convertedObjects") or []
    if len(converted) != len(objects):
        raise errors.internal(
            f"{where}webhook returned {len(converted)} objects, expected {len(objects)}"
        )
    return [_checked(old, new, wanted, where) for old, new in zip(objects, converted, strict=True)]


def _checked(old: dict[str, Any], new: Any, wanted: str, where: str) -> dict[str, Any]:
    if (
        not isinstance(new, dict)
        or new.get("apiVersion") != wanted
        or new.get("kind") != old.get("kind")
    ):
        raise errors.internal(f"{where}webhook returned an object that is not of {wanted}")
    before, after = old.get("metadata") or {}, dict(new.get("metadata") or {})
    for key in _KEPT:
        if before.get(key) != after.get(key):
            raise errors.internal(f"{where}webhook changed metadata.{key}")
    # Only labels and annotations may change; the rest of the metadata is as it was, the version first.
    kept = {**before, **{key: after[key] for key in ("labels", "annotations") if key in after}}
    for key in ("labels", "annotations"):
        if key not in after:
            kept.pop(key, None)
    content = {
        key: value for key, value in new.items() if key not in ("apiVersion", "kind", "metadata")
    }
    return {"apiVersion": wanted, "kind": new["kind"], "metadata": kept, **content}
