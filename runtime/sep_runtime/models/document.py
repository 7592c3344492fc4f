"""A YAML file of a stranger as plain values, within limits."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import yaml

from sep_protocol.errors import ModelError
from sep_runtime.models import kinds
from sep_runtime.models.words import MOST

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 1 << 20
DEPTH = 50
ALIASES = 1000
NODES = 20_000
MERGED = 1000  # keys of a table, with those that `<<` brought
DIGITS = 100  # characters of what is no text: a number, a date

HINT = "give the YAML that was published with the checkpoint"


class _Loader(yaml.SafeLoader):
    """SafeLoader with limits that reads `!!python/tuple` as a list and knows no other Python type.

    What it gives may repeat itself without end: aliases are the same object again.
    """

    nodes = depth = aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """Compose a node of the events; raise YAMLError beyond the limits."""
        self.nodes += 1
        self.aliases += self.check_event(yaml.AliasEvent)
        self.depth += 1
        for count, most, what in (
            (self.depth, DEPTH, "levels"),
            (self.aliases, ALIASES, "aliases"),
            (self.nodes, NODES, "values"),
        ):
            if count > most:
                raise yaml.YAMLError(f"it has more than {most} {what}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:  # noqa: ANN401
        """Compose a scalar; raise YAMLError for a number that would take an age to read."""
        node = super().compose_scalar_node(anchor)
        if node.tag != "tag:yaml.org,2002:str" and len(node.value) > DIGITS:
            raise yaml.YAMLError(f"a value of {len(node.value)} characters is no number")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names; raise YAMLError where that grows without bound."""
        super().flatten_mapping(node)
        if len(node.value) > MERGED:
            raise yaml.YAMLError(f"it merges more than {MERGED} values")


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def read(path: Path) -> object:
    """Return what the file holds; raise ModelError where it cannot be read."""
    kinds.check_file(path, "the settings")
    try:
        with path.open("rb") as file:
            data = file.read(BYTES + 1)
    except OSError as fault:
        why = fault.strerror or "it cannot be opened"
        raise ModelError(f"the settings {{path}} cannot be read: {why}", path=str(path)) from fault
    if len(data) > BYTES:
        raise ModelError("the settings {path} are longer than 1 MiB", HINT, str(path))
    try:
        return yaml.load(_text(data), Loader=_Loader)  # noqa: S506 (it is a SafeLoader)
    except MemoryError:
        raise
    except Exception as fault:  # YAML's constructors raise whatever int() and date() do
        raise ModelError(
            f"the settings {{path}} are no YAML that can be read: {_why(fault)}", HINT, str(path)
        ) from fault


def _text(data: bytes) -> str:
    """Return the text in the encoding that it seems to have."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # of old editors on Windows


def _why(fault: Exception) -> str:
    text = str(fault)
    if isinstance(fault, yaml.MarkedYAMLError) and fault.problem:
        line = f", line {fault.problem_mark.line + 1}" if fault.problem_mark else ""
        text = f"{fault.problem}{line}"
    first = (text.splitlines() or [type(fault).__name__])[0]
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in first)[: 2 * MOST]
