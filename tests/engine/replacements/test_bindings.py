# SPDX-License-Identifier: Apache-2.0
"""Copies of bindings: what cwltool relies on, and what it does not need."""

from __future__ import annotations

from typing import Any

from ruamel.yaml.comments import CommentedMap

from cwl_udss.engine.replacements.bindings import copy_binding


class Uncopied(list[Any]):
    def __deepcopy__(self, memo: dict[int, Any]) -> Uncopied:
        raise AssertionError("it was copied")


def test_what_a_binding_binds_is_not_copied() -> None:
    binding = CommentedMap({"position": [1, 2], "datum": Uncopied(["a", "b"]), "prefix": "-x"})
    copied = copy_binding(binding)
    assert copied == binding
    assert list(copied) == list(binding)
    assert copied["datum"] is binding["datum"]


def test_all_else_is_copied() -> None:
    binding = CommentedMap({"position": [1, 2], "datum": None})
    schema = CommentedMap({"type": "array", "items": [binding]})
    copy_binding(binding)["position"].append(3)
    copy_binding(schema)["items"][0]["position"].append(3)
    copy_binding([binding])[0]["position"].append(3)
    assert binding["position"] == [1, 2]
