"""Every anomaly that the program can name is explained."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import accounting
from accounting.anomalies import Meaning, meaning
from accounting.extraction import read
from tests.formats.catalogue import rows

SOURCES = sorted(Path(accounting.__file__).parent.rglob("*.py"))
NAMING = {"flag", "within", "part", "overlapping", "Unreadable", "_nothing", "flagged"}
"""What is called with an anomaly's name."""


def names(tree: ast.AST) -> Iterator[str]:
    """The names in a module's source; of one that is put together, "x" for what varies."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in NAMING:
            yield from _texts(*node.args)
        elif isinstance(node, ast.keyword | ast.Assign | ast.AnnAssign) and _HELD.match(ast.unparse(node)):
            yield from _texts(node.value)


_HELD = re.compile("[^=]*(anomalies|flags)")


def _called(call: ast.Call) -> str:
    if ast.unparse(call.func) == "flags.append":
        return "flag"
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _texts(*nodes: ast.AST | None) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Tuple | ast.List | ast.IfExp | ast.Starred | ast.BinOp | ast.NamedExpr):
            yield from _texts(*ast.iter_child_nodes(node))


def named_in_the_source() -> list[str]:
    found = {name for file in SOURCES for name in names(ast.parse(file.read_text(encoding="utf-8")))}
    return sorted(name for name in found if name.replace("_", "").isalnum())


def test_the_source_is_searched() -> None:
    found = named_in_the_source()
    assert {"cached_exceeds_input", "x_negative", "encoding_x", "shape_of_x", "input_missing", "output_withdrawn"} <= {
        *found
    }


@pytest.mark.parametrize("anomaly", named_in_the_source())
def test_every_anomaly_in_the_source_has_a_meaning(anomaly: str) -> None:
    assert meaning(anomaly) is not None


def test_every_anomaly_of_the_catalogue_has_a_meaning() -> None:
    found = {name for row in rows() for name in read(row.body, provider=row.provider, path=row.path).usage.anomalies}
    assert [name for name in sorted(found) if meaning(name) is None] == []


@pytest.mark.parametrize(
    ("anomaly", "known"),
    [
        ("hidden_output", Meaning("The total is more than all its parts, as with reasoning that is not shown.",
                                  "The rest counts as output.")),
        ("prompt_tokens_negative", Meaning("prompt_tokens is below zero.", "It is unknown.")),
        ("usage_unreadable", Meaning("There is a usage block, and none of its counts can be read.",
                                     "The usage counts as missing.")),
        ("encoding_br", Meaning("The answer is compressed as br, which is not read.",
                                "It passed to the caller unread.")),
        ("_negative", None),
        ("something_else", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_meaning_says_what_was_off_and_what_was_made_of_it(anomaly: str, known: Meaning | None) -> None:
    assert meaning(anomaly) == known
