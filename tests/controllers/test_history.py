"""Revisions of templates."""

from __future__ import annotations

import json

from tiphys.api.apps_v1 import DaemonSet
from tiphys.api.base import encode
from tiphys.api.core_v1 import Container
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import history


def owner(image: str = "img:1") -> DaemonSet:
    made = DaemonSet(metadata=ObjectMeta(name="d", namespace="default", uid="u"))
    made.spec.template.metadata.labels = {"app": "d"}
    made.spec.template.spec.containers = [Container(name="c", image=image)]
    return made


def test_a_revision_keeps_the_template_in_the_order_of_its_names() -> None:
    """kubectl and client-go compare it byte by byte."""
    made = history.new_revision(owner(), 1, 0, history.REVISION_LABEL)
    digest = made.metadata.labels[history.REVISION_LABEL]
    assert made.metadata.name == f"d-{digest}" and made.metadata.labels["app"] == "d"
    text = encode(made.data).decode()
    assert json.loads(text)["spec"]["template"]["$patch"] == "replace"
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_template_comes_back_as_it_was() -> None:
    made = history.new_revision(owner(), 1, 0, history.REVISION_LABEL)
    assert history.template_of(made) == owner().spec.template


def test_another_template_or_a_collision_gives_another_name() -> None:
    names = {
        history.new_revision(template, 1, collisions, history.HASH_LABEL).metadata.name
        for template, collisions in ((owner(), 0), (owner("img:2"), 0), (owner(), 1))
    }
    assert len(names) == 3
