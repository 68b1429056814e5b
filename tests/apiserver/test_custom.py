"""Custom resources: definitions, schemas, versions, subresources, selectors, removal."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest

from tests.apiserver.builders import (
    CRDS,
    CRONS,
    SCHEMA,
    call,
    cron,
    definition,
    established,
    refused,
)
from tiphys.apiserver.custom.openapi import swagger_model
from tiphys.client.client import JSON_PATCH, MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


async def test_a_definition_is_served_at_once(server: LocalCluster) -> None:
    crd = await established(server, definition())
    assert {c["type"]: c["status"] for c in crd["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert (
        crd["status"]["storedVersions"] == ["v1"]
        and crd["spec"]["names"]["listKind"] == "CronTabList"
    )
    made = await call(server, "POST", CRONS, cron())
    assert made["spec"]["image"] == "nginx" and made["metadata"]["generation"] == 1
    listed = await call(server, "GET", CRONS)
    assert listed["kind"] == "CronTabList" and [i["metadata"]["name"] for i in listed["items"]] == [
        "a"
    ]
    resources = await call(server, "GET", "/apis/stable.example.com/v1")
    assert resources["resources"][0]["shortNames"] == ["ct"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"cronSpec": "x"}, "spec.cronSpec in body should match"),
        (
            {"replicas": 11},
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        ({"replicas": "1"}, 'spec.replicas in body must be of type integer: "string"'),
        ({"cronSpec": None}, "spec.cronSpec: Required value"),
    ],
)
async def test_objects_obey_their_schema(
    server: LocalCluster, spec: dict[str, Any], message: str
) -> None:
    await established(server, definition())
    error = await refused(call(server, "POST", CRONS, cron(spec=spec)))
    assert error.code == 422 and message in str(error)


async def test_unknown_fields_are_pruned_and_told(server: LocalCluster) -> None:
    await established(server, definition())
    wish = cron(spec={"nope": 1, "free": {"any": {"thing": [1, None]}}})
    made = await call(server, "POST", CRONS, wish)
    assert "nope" not in made["spec"] and made["spec"]["free"] == {"any": {"thing": [1, None]}}
    error = await refused(
        call(server, "POST", CRONS, cron("b", {"nope": 1}), fieldValidation="Strict")
    )
    assert error.code == 400 and 'strict decoding error: unknown field "spec.nope"' in str(error)


async def test_a_whole_float_is_an_integer_once_it_is_written(server: LocalCluster) -> None:
    """As Go writes it. What a schema wants to be an integer may come as one."""
    await established(server, definition())
    wish = cron(spec={"replicas": 3.0, "free": {"ratio": 0.5, "all": [1e3, -2.0]}})
    for made in (await call(server, "POST", CRONS, wish), await call(server, "GET", f"{CRONS}/a")):
        assert json.dumps(made["spec"]["free"]) == '{"ratio": 0.5, "all": [1000, -2]}'
        assert json.dumps(made["spec"]["replicas"]) == "3"


async def test_status_and_scale_are_apart(server: LocalCluster) -> None:
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    await established(server, definition(subresources={"status": {}, "scale": scale}))
    made = await call(server, "POST", CRONS, cron(spec={"replicas": 2}, status={"replicas": 9}))
    assert "status" not in made
    made["status"], made["spec"]["replicas"] = {"replicas": 3, "selector": "a=b"}, 7
    kept = await call(server, "PUT", f"{CRONS}/a/status", made)
    assert (
        kept["status"]["replicas"] == 3
        and kept["spec"]["replicas"] == 2
        and kept["metadata"]["generation"] == 1
    )
    assert (await call(server, "GET", f"{CRONS}/a/scale"))["status"] == {
        "replicas": 3,
        "selector": "a=b",
    }
    await call(server, "PATCH", f"{CRONS}/a/scale", {"spec": {"replicas": 5}}, MERGE)
    grown = await call(server, "GET", f"{CRONS}/a")
    assert grown["spec"]["replicas"] == 5 and grown["metadata"]["generation"] == 2


async def test_patches(server: LocalCluster) -> None:
    await established(server, definition())
    await call(server, "POST", CRONS, cron())
    merged = await call(server, "PATCH", f"{CRONS}/a", {"spec": {"replicas": 4}}, MERGE)
    assert merged["spec"]["replicas"] == 4
    patched = await call(
        server, "PATCH", f"{CRONS}/a", [{"op": "remove", "path": "/spec/replicas"}], JSON_PATCH
    )
    assert "replicas" not in patched["spec"]
    error = await refused(
        call(server, "PATCH", f"{CRONS}/a", {}, "application/strategic-merge-patch+json")
    )
    assert error.code == 415
    stale = await refused(call(server, "PUT", f"{CRONS}/a", cron()))
    assert stale.code == 422 and "metadata.resourceVersion" in str(stale)


async def test_what_did_not_change_is_not_judged_again(server: LocalCluster) -> None:
    await established(server, definition())
    await call(server, "POST", CRONS, cron(spec={"host": "a very long name"}))
    crd = await call(server, "GET", f"{CRDS}/crontabs.stable.example.com")
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][
        "host"
    ]["maxLength"] = 3
    await call(server, "PUT", f"{CRDS}/crontabs.stable.example.com", crd)
    assert (await call(server, "PATCH", f"{CRONS}/a", {"spec": {"replicas": 2}}, MERGE))["spec"][
        "replicas"
    ] == 2
    error = await refused(call(server, "PATCH", f"{CRONS}/a", {"spec": {"host": "another"}}, MERGE))
    assert "spec.host: Too long" in str(error)


async def test_a_new_default_shows_in_old_objects(server: LocalCluster) -> None:
    await established(server, definition())
    await call(server, "POST", CRONS, cron())
    crd = await call(server, "GET", f"{CRDS}/crontabs.stable.example.com")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["zone"] = {"type": "string", "default": "UTC"}
    await call(server, "PUT", f"{CRDS}/crontabs.stable.example.com", crd)
    assert (await call(server, "GET", f"{CRONS}/a"))["spec"]["zone"] == "UTC"
    assert (await call(server, "GET", CRONS))["items"][0]["spec"]["zone"] == "UTC"


async def test_versions_are_one_object(server: LocalCluster) -> None:
    crd = definition()
    second = copy.deepcopy(crd["spec"]["versions"][0]) | {"name": "v2", "storage": False}
    crd["spec"]["versions"].append(second)
    await established(server, crd)
    await call(server, "POST", CRONS, cron())
    other = CRONS.replace("/v1/", "/v2/")
    assert (await call(server, "GET", f"{other}/a"))["apiVersion"] == "stable.example.com/v2"
    moved = await call(server, "PATCH", f"{other}/a", {"spec": {"replicas": 3}}, MERGE)
    assert moved["apiVersion"] == "stable.example.com/v2"
    assert (await call(server, "GET", f"{CRONS}/a"))["spec"]["replicas"] == 3
    groups = await call(server, "GET", "/apis/stable.example.com")
    assert [v["version"] for v in groups["versions"]] == ["v2", "v1"]


async def test_columns_and_selectable_fields(server: LocalCluster) -> None:
    columns = [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
        {"name": "N", "type": "integer", "jsonPath": ".spec.replicas"},
    ]
    await established(
        server,
        definition(additionalPrinterColumns=columns, selectableFields=[{"jsonPath": ".spec.host"}]),
    )
    await call(server, "POST", CRONS, cron(spec={"host": "x", "replicas": 2}))
    await call(server, "POST", CRONS, cron("b", {"host": "y"}))
    accept = "application/json;as=Table;g=meta.k8s.io;v=v1"
    table = json.loads(await server.client.request("GET", CRONS, accept=accept))
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Spec", "N"]
    assert [row["cells"] for row in table["rows"]] == [
        ["a", "* * * * */5", 2],
        ["b", "* * * * */5", None],
    ]
    found = await call(server, "GET", CRONS, fieldSelector="spec.host=y")
    assert [i["metadata"]["name"] for i in found["items"]] == ["b"]
    assert (await refused(call(server, "GET", CRONS, fieldSelector="spec.image=y"))).code == 400


async def test_deleting_a_definition_deletes_its_objects(server: LocalCluster) -> None:
    await established(server, definition())
    held = cron("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await call(server, "POST", CRONS, held)
    await call(server, "POST", CRONS, cron())
    gone = await call(server, "DELETE", f"{CRDS}/crontabs.stable.example.com")
    assert gone["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    late = await refused(call(server, "POST", CRONS, cron("late")))
    assert late.code == 405 and "terminating" in str(late)
    await call(server, "PATCH", f"{CRONS}/held", {"metadata": {"finalizers": None}}, MERGE)
    async with asyncio.timeout(5):
        while True:
            try:
                await call(server, "GET", f"{CRDS}/crontabs.stable.example.com")
            except StatusError as error:
                assert error.code == 404
                break
            await asyncio.sleep(0)
    assert (await refused(call(server, "GET", CRONS))).code == 404


async def test_names_belong_to_the_first(server: LocalCluster) -> None:
    await established(server, definition())
    rival = definition()
    rival["metadata"]["name"] = "others.stable.example.com"
    rival["spec"]["names"] = {"plural": "others", "kind": "CronTab"}
    crd = await established(server, rival)
    conditions = {c["type"]: (c["status"], c["reason"]) for c in crd["status"]["conditions"]}
    assert (
        conditions["NamesAccepted"] == ("False", "ListKindConflict")
        and conditions["Established"][0] == "False"
    )


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "object", "properties": {"a": {}}}, "properties[a].type: Required value"),
        (
            {"type": "object", "properties": {"a": {"type": "array"}}},
            "properties[a].items: Required value",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}},
            "properties[a].default",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
            "properties[a].pattern",
        ),
    ],
)
async def test_schemas_must_be_structural(
    server: LocalCluster, schema: dict[str, Any], field: str
) -> None:
    error = await refused(
        call(server, "POST", CRDS, definition(schema={"openAPIV3Schema": schema}))
    )
    assert error.code == 422 and field in str(error)


async def test_openapi_publishes_the_schema(server: LocalCluster) -> None:
    await established(server, definition())
    index = await call(server, "GET", "/openapi/v3")
    assert "apis/stable.example.com/v1" in index["paths"]
    document = await call(server, "GET", "/openapi/v3/apis/stable.example.com/v1")
    model = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert model["properties"]["spec"]["properties"]["image"]["default"] == "nginx"
    v2 = await call(server, "GET", "/openapi/v2")
    assert "com.example.stable.v1.CronTab" in v2["definitions"]


def test_swagger_says_nothing_that_clients_would_hold_against_an_object() -> None:
    anything = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"a": {"type": "string"}},
    }
    assert swagger_model(anything) == {"type": "object"}
    seen = swagger_model(
        {
            "type": "object",
            "required": ["maybe", "sure"],
            "properties": {
                "maybe": {
                    "type": "object",
                    "nullable": True,
                    "properties": {"a": {"type": "string"}},
                },
                "sure": {"type": "string"},
                "open": anything,
                "rows": {
                    "type": "array",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "items": {},
                },
            },
        }
    )
    open_ended = {"x-kubernetes-preserve-unknown-fields": True}
    properties = {"maybe": {}, "sure": {"type": "string"}, "open": open_ended, "rows": open_ended}
    assert seen == {"type": "object", "required": ["sure"], "properties": properties}


async def test_rules_judge_objects_and_their_changes(server: LocalCluster) -> None:
    crd = definition()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = copy.deepcopy(SCHEMA)
    spec["properties"]["spec"]["x-kubernetes-validations"] = [
        {"rule": "!has(self.replicas) || self.replicas != 7", "message": "seven is taken"},
        {"rule": "!has(oldSelf.replicas) || self.replicas >= oldSelf.replicas"},
    ]
    await established(server, crd)
    error = await refused(call(server, "POST", CRONS, cron(spec={"replicas": 7})))
    assert "is invalid: spec: Invalid value: seven is taken" in str(error)
    await call(server, "POST", CRONS, cron(spec={"replicas": 5}))
    error = await refused(call(server, "PATCH", f"{CRONS}/a", {"spec": {"replicas": 4}}, MERGE))
    assert "failed rule: !has(oldSelf.replicas)" in str(error)


async def test_bad_rules_are_refused_with_their_place(server: LocalCluster) -> None:
    crd = definition()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = copy.deepcopy(SCHEMA)
    spec["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.nope == 1"}]
    error = await refused(call(server, "POST", CRDS, crd))
    assert "x-kubernetes-validations[0].rule" in str(error) and "undefined field 'nope'" in str(
        error
    )


def test_schemas_are_refused_for_what_they_cannot_mean() -> None:
    from tests.apiserver.schemas import REFUSED
    from tiphys.apiserver.resources.customresourcedefinitions.schemas import schema_errors

    assert len(REFUSED) > 60
    for is_root, facts, told in REFUSED:
        where, schema = "at", facts
        if not is_root:
            where = "at.properties[spec]"
            schema = {"type": "object", "properties": {"spec": facts}}
        found = sorted(map(str, schema_errors(schema, "at", has_status=False)))
        assert found == sorted(text.replace("~", where).replace("@", "at") for text in told), facts


LONG = {
    "type": "string",
    "maxLength": 1000,
    "x-kubernetes-validations": [{"rule": "self.contains('x')"}],
}


@pytest.mark.parametrize(
    ("facts", "is_bounded"),
    [
        ({"type": "array", "items": LONG}, False),
        ({"type": "array", "maxItems": 1, "items": LONG}, True),
        ({"type": "object", "additionalProperties": LONG}, False),
        ({"type": "object", "maxProperties": 1, "additionalProperties": LONG}, True),
        ({"type": "object", "properties": {"a": LONG}}, True),
    ],
)
def test_a_rule_costs_what_it_costs_as_often_as_its_value_may_be_there(
    facts: dict[str, Any], is_bounded: bool
) -> None:
    from tiphys.apiserver.resources.customresourcedefinitions.schemas import schema_errors

    schema = {"type": "object", "properties": {"spec": facts}}
    texts = list(map(str, schema_errors(schema, "at", has_status=False)))
    assert any("estimated rule cost exceeds budget" in text for text in texts) != is_bounded, texts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"names": {"plural": "crontabs", "kind": "CronTab", "singular": "Up"}},
            'spec.names.singular: Invalid value: "Up"',
        ),
        ({"conversion": {}}, "spec.conversion.strategy: Required value"),
        (
            {"conversion": {"strategy": "Webhook"}},
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            {
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {
                        "conversionReviewVersions": ["v1"],
                        "clientConfig": {"url": "https://u:p@x/?a=b#c"},
                    },
                }
            },
            "user information is not permitted in the URL",
        ),
        (
            {
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {
                        "conversionReviewVersions": ["v1", "v1"],
                        "clientConfig": {"service": {"name": "", "namespace": "a", "path": "x"}},
                    },
                }
            },
            "must start with a '/'",
        ),
        (
            {"versions": []},
            "status.storedVersions: Invalid value: null: must have at least one stored version",
        ),
    ],
)
async def test_definitions_are_refused(
    server: LocalCluster, change: dict[str, Any], message: str
) -> None:
    crd = definition()
    crd["spec"] |= change
    assert message in (await refused(call(server, "POST", CRDS, crd))).status.message


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            {
                "subresources": {
                    "scale": {"specReplicasPath": ".status.x", "statusReplicasPath": "x"}
                }
            },
            'spec.subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec',
        ),
        (
            {"additionalPrinterColumns": [{"name": "a", "type": "foo", "jsonPath": "x"}]},
            'spec.additionalPrinterColumns[0].type: Invalid value: "foo": must be one of boolean,date,integer,number,string',
        ),
        (
            {"selectableFields": [{"jsonPath": ".spec.nope"}]},
            "is an invalid path: does not refer to a valid field",
        ),
        (
            {"selectableFields": [{"jsonPath": ".spec.free"}]},
            "must point to a field of type string, boolean or integer",
        ),
        (
            {"selectableFields": [{"jsonPath": ".spec.host"}, {"jsonPath": ".spec.host"}]},
            'spec.selectableFields[1].jsonPath: Duplicate value: ".spec.host"',
        ),
        (
            {"deprecationWarning": "x"},
            'spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for deprecated versions',
        ),
    ],
)
async def test_versions_are_refused(
    server: LocalCluster, version: dict[str, Any], message: str
) -> None:
    assert (
        message in (await refused(call(server, "POST", CRDS, definition(**version)))).status.message
    )


async def test_what_two_versions_say_differently_is_told_where_it_stands(
    server: LocalCluster,
) -> None:
    crd, wrong = definition(), {"type": "object", "nullable": True}
    crd["spec"]["versions"].append(
        {"name": "v2", "served": True, "storage": False, "schema": {"openAPIV3Schema": wrong}}
    )
    message = (await refused(call(server, "POST", CRDS, crd))).status.message
    assert "spec.versions[1].schema.openAPIV3Schema.nullable: Forbidden" in message


async def test_rules_wait_for_what_blocks_them_and_replicas_are_numbers(
    server: LocalCluster,
) -> None:
    schema = copy.deepcopy(SCHEMA)
    schema["properties"]["spec"]["x-kubernetes-validations"] = [
        {"rule": "self.image != 'x'", "message": "no x"}
    ]
    scale = {"specReplicasPath": ".spec.free.n", "statusReplicasPath": ".status.replicas"}
    await established(
        server, definition(schema={"openAPIV3Schema": schema}, subresources={"scale": scale})
    )
    unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid"
    error = await refused(call(server, "POST", CRONS, cron(spec={"cronSpec": None, "image": "x"})))
    assert unchecked in error.status.message and "no x" not in error.status.message
    error = await refused(call(server, "POST", CRONS, cron(spec={"cronSpec": "x", "image": "x"})))
    assert (
        "no x" in error.status.message and "should match" in error.status.message
    )  # a pattern blocks nothing
    for value, told in (
        ("a", ".spec.free.n accessor error: a is of the type string, expected int64"),
        (-1, "should be a non-negative integer"),
        (2**31, "should be less than or equal to 2147483647"),
    ):
        error = await refused(call(server, "POST", CRONS, cron(spec={"free": {"n": value}})))
        assert error.status.message.endswith(told)
