"""Webhooks without a network: who is asked what, and what becomes of the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import NoWebhook, Record, Rights, attributes
from tests.builders import config_map
from tiphys.api import admissionregistration_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.apiserver.admission import Admission, Attributes
from tiphys.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks
from tiphys.apiserver.http.request import collect_annotations, collect_warnings
from tiphys.apiserver.proxying.webhooks import WebhookError
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.resources import Strategies
from tiphys.machinery.errors import StatusError

RULE = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}


def hook(name: str = "a", **parts: Any) -> dict[str, Any]:
    whole = {
        "name": name,
        "rules": [RULE],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://h"},
        "failurePolicy": "Fail",
    }
    return {**whole, **parts}


class Caller:
    """Answers each webhook by its timeout, which tells them apart where it matters."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        self._answer = answer
        self.reviews: list[dict[str, Any]] = []
        self.seconds: list[float] = []

    async def call(self, client_config: Any, review: dict[str, Any], seconds: float) -> Any:
        self.reviews.append(review)
        self.seconds.append(seconds)
        answer = self._answer(review["request"])
        if isinstance(answer, Exception):
            raise answer
        return {"response": {"uid": review["request"]["uid"], **answer}}


class Asked:
    """A write of `made` with webhooks that answer so: what became of it."""

    def __init__(self, made: Attributes, answer: Any, *hooks: dict[str, Any], mutate: bool = False) -> None:  # fmt: skip
        kind = v1.MutatingWebhookConfiguration if mutate else v1.ValidatingWebhookConfiguration
        body = {"metadata": {"name": "conf"}, "webhooks": list(hooks or [hook()])}
        self._made = made
        self._mutate = mutate
        self.caller = Caller(answer if callable(answer) else lambda request: answer)
        registry = Registry(stored(from_builtins(body, kind)), Admission([]), Strategies().of, NoWebhook())  # fmt: skip
        plugin = MutatingWebhooks if mutate else ValidatingWebhooks
        self._plugin = plugin(lambda: registry, lambda: Rights(), lambda: self.caller)  # type: ignore[arg-type,return-value]
        self.warnings: list[str] = []
        self.record = Record()
        self.code, self.says = 0, ""

    async def __call__(self) -> Asked:
        collect_warnings(self.warnings)
        collect_annotations(self.record)
        step = self._plugin.mutate if self._mutate else self._plugin.validate
        try:
            await step(self._made)
        except StatusError as error:
            self.code, self.says = error.code, str(error)
        return self


def creation(**more: Any) -> Attributes:
    return attributes("CREATE", config_map("c", k="v"), **more)


YES = {"allowed": True}
DENIED = 'admission webhook "a" denied the request'
FAILED = 'Internal error occurred: failed calling webhook "a": failed to call webhook: '


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (YES, 0, ""),
        ({"allowed": False}, 400, f"{DENIED} without explanation"),
        ({}, 400, f"{DENIED} without explanation"),
        ({"allowed": False, "status": {"message": "no"}}, 400, f"{DENIED}: no"),
        ({"allowed": False, "status": {"reason": "Forbidden"}}, 400, f"{DENIED}: Forbidden"),
        ({"allowed": False, "status": {"message": "no", "code": 403}}, 403, f"{DENIED}: no"),
        ({"allowed": False, "status": {"message": "no", "code": 400}}, 400, f"{DENIED}: no"),
        ({"allowed": False, "status": {"message": "no", "code": 399}}, 400, f"{DENIED}: no"),
        ({"allowed": False, "status": {"message": 5}}, 400, f"{DENIED} without explanation"),
        ({"allowed": False, "status": {"message": None, "code": 404}}, 404, f"{DENIED} without explanation"),
        ({"uid": "other", "allowed": True}, 500, f'{FAILED}expected response.uid='),
        (WebhookError("no route"), 500, f"{FAILED}no route"),
    ],
)  # fmt: skip
async def test_what_an_answer_means(answer: Any, code: int, says: str) -> None:
    outcome = await Asked(creation(), answer)()
    assert (
        outcome.code == code and outcome.says.startswith(says) and bool(outcome.says) == bool(says)
    )


async def test_an_answer_without_a_response_is_a_failure() -> None:
    asked = Asked(creation(), YES)

    async def call(*_: Any) -> Any:
        return {"response": None}

    asked.caller.call = call  # type: ignore[method-assign]
    assert (await asked()).says == f"{FAILED}webhook response was absent"


async def test_a_failure_that_is_ignored_is_noted() -> None:
    outcome = await Asked(creation(), WebhookError("no"), hook("z"), hook(failurePolicy="Ignore"))()
    assert outcome.code == 500
    outcome = await Asked(creation(), WebhookError("no"), hook(failurePolicy="Ignore"))()
    key = "failed-open.validating.webhook.admission.k8s.io/round_0_index_0"
    assert outcome.code == 0 and outcome.record.annotations == {key: "a"}


async def test_what_a_webhook_has_to_say() -> None:
    answer = {**YES, "warnings": ["w", 5], "auditAnnotations": {"k": "v"}}
    outcome = await Asked(creation(), answer)()
    assert outcome.warnings == ["w", "5"] and outcome.record.annotations == {"a/k": "v"}
    refused = await Asked(creation(), {**answer, "allowed": False})()
    assert refused.warnings == ["w", "5"] and refused.code == 400


@pytest.mark.parametrize(
    ("effects", "code"), [("None", 0), ("NoneOnDryRun", 0), ("Some", 400), (None, 400)]
)
async def test_a_dry_run_asks_who_does_nothing(effects: str | None, code: int) -> None:
    outcome = await Asked(creation(dry_run=True), YES, hook(sideEffects=effects))()
    assert outcome.code == code and len(outcome.caller.reviews) == (code == 0)
    assert (await Asked(creation(), YES, hook(sideEffects=effects))()).code == 0


@pytest.mark.parametrize(
    ("versions", "version"),
    [(["v1"], "v1"), (["v1beta1", "v1"], "v1beta1"), (["v2", "v1beta1"], "v1beta1"), ([], "v1")],
)
async def test_the_first_version_that_is_known_is_spoken(versions: list[str], version: str) -> None:
    outcome = await Asked(creation(), YES, hook(admissionReviewVersions=versions))()
    [review] = outcome.caller.reviews
    assert review["apiVersion"] == f"admission.k8s.io/{version}"


@pytest.mark.parametrize(("said", "seconds"), [(None, 10.0), (3, 3.0)])
async def test_how_long_is_waited(said: int | None, seconds: float) -> None:
    assert (await Asked(creation(), YES, hook(timeoutSeconds=said))()).caller.seconds == [seconds]


BROKEN = [{"name": "m", "expression": "object.x == 1"}]
NO = [{"name": "m", "expression": "false"}]
LABELLED = {"matchLabels": {"a": "b"}}


@pytest.mark.parametrize(
    ("parts", "asked", "says"),
    [
        ({}, 1, ""),
        ({"rules": []}, 0, ""),
        ({"rules": [{**RULE, "operations": ["DELETE"]}]}, 0, ""),
        ({"namespaceSelector": LABELLED}, 0, ""),
        ({"objectSelector": LABELLED}, 0, ""),
        ({"matchConditions": NO}, 0, ""),
        ({"matchConditions": [{"name": "m", "expression": "object.data.k == 'v'"}]}, 1, ""),
        ({"matchConditions": BROKEN, "failurePolicy": "Ignore"}, 0, ""),
        ({"matchConditions": BROKEN}, 0, "failed to evaluate match conditions of webhook a: no such key: x"),
    ],
)  # fmt: skip
async def test_who_is_asked(parts: dict[str, Any], asked: int, says: str) -> None:
    outcome = await Asked(creation(), YES, hook(**parts))()
    assert len(outcome.caller.reviews) == asked
    assert says in outcome.says and bool(outcome.says) == bool(says)


async def test_what_is_asked_about_an_update() -> None:
    made = attributes("UPDATE", config_map("c", k="w"), config_map("c", k="v"))
    [review] = (await Asked(made, YES)()).caller.reviews
    request = review["request"]
    assert (request["object"]["data"], request["oldObject"]["data"]) == ({"k": "w"}, {"k": "v"})
    gone = attributes("DELETE", None, config_map("c", k="v"))
    [review] = (await Asked(gone, YES)()).caller.reviews
    assert review["request"]["object"] is None


async def test_the_first_refusal_in_order_is_the_answer() -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": False, "status": {"message": "no"}}

    outcome = await Asked(creation(), answer, hook("a"), hook("b"))()
    assert outcome.says == f"{DENIED}: no" and len(outcome.caller.reviews) == 2


async def test_nobody_is_asked_about_webhooks() -> None:
    own = from_builtins({"metadata": {"name": "x"}}, v1.ValidatingWebhookConfiguration)
    for mutate in (False, True):
        outcome = await Asked(attributes("CREATE", own), {}, mutate=mutate)()
        assert outcome.code == 0 and outcome.caller.reviews == []


# --- patches ---


def patched(*operations: dict[str, Any]) -> dict[str, Any]:
    return {**YES, "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


SET = {"op": "replace", "path": "/data/k", "value": "w"}


@pytest.mark.parametrize(
    ("answer", "data", "mutated"),
    [
        (YES, {"k": "v"}, False),
        (patched(), {"k": "v"}, False),
        (patched(SET), {"k": "w"}, True),
        (patched({**SET, "value": "v"}), {"k": "v"}, False),
    ],
)
async def test_a_patch_changes_the_object(answer: Any, data: Any, mutated: bool) -> None:
    made = creation()
    outcome = await Asked(made, answer, mutate=True)()
    assert (made.obj.data, made.changed) == (data, mutated)
    told = outcome.record.annotations["mutation.webhook.admission.k8s.io/round_0_index_0"]
    assert json.loads(told) == {"configuration": "conf", "webhook": "a", "mutated": mutated}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({**YES, "patch": "!"}, 'failed to apply the patch of webhook "a"'),
        ({**YES, "patch": base64.b64encode(b"{").decode()}, 'failed to apply the patch of webhook "a"'),
        (patched({"op": "remove", "path": "/data/x"}), 'failed to apply the patch of webhook "a"'),
        (patched({"op": "replace", "path": "/data", "value": 5}), 'webhook "a" made an object that cannot be read'),
    ],
)  # fmt: skip
async def test_a_patch_that_does_not_fit_is_an_error(answer: Any, says: str) -> None:
    outcome = await Asked(creation(), answer, mutate=True)()
    assert outcome.code == 500 and says in outcome.says


async def test_what_is_deleted_is_not_patched() -> None:
    gone = attributes("DELETE", None, config_map("c", k="v"))
    assert (await Asked(gone, patched(SET), mutate=True)()).code == 0
    assert gone.obj is None


async def test_each_webhook_sees_what_the_one_before_has_left() -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        seen = request["object"]["data"]["k"]
        return patched({**SET, "value": seen + "!"})

    made = creation()
    outcome = await Asked(made, answer, hook("a"), hook("b"), mutate=True)()
    assert made.obj.data == {"k": "v!!"}
    places = [key for key in outcome.record.annotations if key.startswith("patch.")]
    assert places == [f"patch.webhook.admission.k8s.io/round_0_index_{n}" for n in (0, 1)]
