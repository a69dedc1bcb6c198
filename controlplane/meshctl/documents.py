"""The manifests that a command is given with ``-f``: files, directories, or standard input."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from controlplane.api.decode import expand, reference
from controlplane.api.paths import FieldPath, parse_path
from controlplane.api.problem import ObjectRef, Problem, Source
from controlplane.api.registry import BY_KIND
from controlplane.meshctl.trouble import Trouble, misused
from controlplane.sources.manifests import split
from controlplane.sources.yamldoc import NotYaml, Yaml, parse

SUFFIXES = (".yaml", ".yml", ".json")
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Document:
    """One object as written, and where."""

    value: dict[str, Any]
    ref: ObjectRef
    locate: Callable[[FieldPath], Source]
    """Where a field of it stands; the document itself has the path ``()``."""


def texts(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of every file; a directory stands for the manifests below it, in order.

    Raises Trouble for what cannot be read.
    """
    for given in paths:
        if given == STANDARD_INPUT:
            yield "standard input", sys.stdin.read()
            continue
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not inside:
                raise Trouble(f"no manifests in {path}", f"Files must end in {', '.join(SUFFIXES)}")
            yield from ((str(each), _read(each)) for each in inside)
        else:
            yield str(path), _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise Trouble(f"{path} is not UTF-8: {error.reason}", "Save it as UTF-8") from None


def unreadable(path: Path | str, error: OSError) -> Trouble:
    return misused(
        f"cannot read {path}: {(error.strerror or str(error)).lower()}",
        "Name a file, a directory or - (standard input) with -f",
    )


def read(paths: Sequence[str], namespace: str | None) -> tuple[Document, ...]:
    """Every object in the files; those that name no namespace get ``namespace``.

    Raises Trouble with file and line for a text that is not YAML.
    """
    found: list[Document] = []
    for name, text in texts(paths):
        for piece in split(text):
            try:
                document = parse(piece.text)
            except NotYaml as error:
                raise Trouble(
                    f"{name}:{error.line + piece.line}: {error.message}", error.remedy
                ) from None
            for path, value in expand(document.value):
                if isinstance(value, dict):
                    placed = _in_namespace(value, namespace)
                    locate = partial(_locate, document, Source(name, piece.line), path)
                    found.append(Document(placed, reference(placed), locate))
    if not found:
        raise nothing(paths)
    return tuple(found)


def nothing(paths: Sequence[str]) -> Trouble:
    where = ", ".join("standard input" if path == STANDARD_INPUT else path for path in paths)
    return misused(f"no objects in {where}", "Name manifests with -f")


def _locate(document: Yaml, start: Source, base: FieldPath, path: FieldPath) -> Source:
    return Source(start.path, start.line + document.line(base + path))


def _in_namespace(value: dict[str, Any], namespace: str | None) -> dict[str, Any]:
    meta = value.get("metadata")
    row = BY_KIND.get(str(value.get("kind")))
    if namespace is None or not isinstance(meta, dict) or meta.get("namespace") or row is None:
        return value
    return value | {"metadata": meta | {"namespace": namespace}} if row.namespaced else value


def placed(problems: Sequence[Problem], documents: Sequence[Document]) -> tuple[Problem, ...]:
    """``problems`` with the file and line of the field they are about, where the server, which saw
    no file, left it out."""
    places = {document.ref: document.locate for document in documents}
    return tuple(
        replace(each, source=places[each.object](parse_path(each.field)))
        if each.source is None and each.object in places
        else each
        for each in problems
    )
