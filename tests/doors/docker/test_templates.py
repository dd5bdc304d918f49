# SPDX-License-Identifier: Apache-2.0
"""Templates, as far as callers write them."""

from __future__ import annotations

import pytest

from cwl_udss.doors.docker.errors import UsageError
from cwl_udss.doors.docker.templates import formatted

ITEM = {"ID": "ab", "State": {"Running": True}, "List": ["x", "y"], "Labels": {"a.b": "c"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.ID}}", "ab"),
        ("{{ .Id }}", "ab"),
        ("{{.State.Running}}", "true"),
        ("{{json .State}}", '{"Running":true}'),
        ("{{.List | json}}", '["x","y"]'),
        ("{{.List}}", "[x y]"),
        ("{{.State}}", "map[Running:true]"),
        ('{{index .Labels "a.b"}}', "c"),
        ("{{index .List 1}}", "y"),
        ('{{join .List ","}}', "x,y"),
        ("{{len .List}}", "2"),
        ("{{range .List}}<{{.}}>{{end}}", "<x><y>"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if not .State.Running}}up{{else}}down{{end}}", "down"),
        ("{{upper (index .List 0)}}", "X"),
        (r"{{.ID}}\t{{.ID}}", "ab\tab"),
        ("a{{/* no */}}b", "ab"),
    ],
)
def test_a_template_is_filled(template: str, text: str) -> None:
    assert formatted(template, [ITEM]) == f"{text}\n"


def test_a_table_has_titles() -> None:
    assert formatted("table {{.ID}}\t{{.State.Running}}", [ITEM]) == "ID   RUNNING\nab   true\n"


@pytest.mark.parametrize(
    "template", ["{{.Nonesuch}}", "{{nonesuch .}}", "{{.ID", "{{end}}", "{{if .ID}}x", "{{}}"]
)
def test_what_is_none_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="template"):
        formatted(template, [ITEM])
