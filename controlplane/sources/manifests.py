"""From a text of manifests to rows and problems. Pure: reads no files.

A text is split into documents before it is parsed, and each is parsed by itself: a document whose
text has not changed keeps its result, with lines counted from its own start, wherever it moves.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from controlplane.api.decode import decode, expand
from controlplane.api.paths import FieldPath
from controlplane.api.problem import ObjectRef, Problem, Reason, Source
from controlplane.sources.claims import TREE, Claims, Entry, FileId
from controlplane.sources.yamldoc import NotYaml, Yaml, parse
from controlplane.world.intake import Taken, take

_MARKER = re.compile(r"^---(?:[ \t]|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """What one document says. Lines, also those of the problems, count from 1 at its own start."""

    entries: tuple[Entry, ...] = ()
    refused: frozenset[ObjectRef] = frozenset()
    """Invalid objects whose identity is known: their last good version may stay."""
    problems: tuple[Problem, ...] = ()
    parsed: bool = True
    """False when it is no YAML, so that nothing is known of what it holds."""


class Piece(NamedTuple):
    """The text of one document, and the 0-based line of the whole text where it begins."""

    text: str
    line: int

    @property
    def digest(self) -> bytes:
        return hashlib.blake2b(self.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def split(text: str) -> list[Piece]:
    """Cut a stream at its document markers, which YAML allows in no other place at column one."""
    pieces, start, line = [], 0, 0
    cuts = [match.start() for match in _MARKER.finditer(text)]
    for end in [cut for cut in cuts if cut > 0] + [len(text)]:
        piece = text[start:end]
        if _has_content(piece):
            pieces.append(Piece(piece, line))
        line += piece.count("\n")
        start = end
    return pieces


def _has_content(piece: str) -> bool:
    """Whether anything stands there beside the marker, comments, directives and blank lines."""
    for line in piece.removeprefix("---").split("\n"):
        text = line.strip()
        if text and text[0] not in "#%" and text != "...":
            return True
    return False


def read_document(text: str, cluster: str = "default") -> Document:
    """Parse and decode one document. A list of kubectl yields each of its items."""
    try:
        document = parse(text)
    except NotYaml as error:
        problem = Problem(
            ObjectRef("Document", "", "?"),
            Reason.UNPARSABLE,
            error.message,
            error.remedy,
            source=Source("", error.line),
        )
        return Document(problems=(problem,), parsed=False)
    except Exception as error:  # noqa: BLE001 - one document must not end the control plane
        return Document(problems=(_defect(error),), parsed=False)
    try:
        return _decode_all(document, cluster, text)
    except Exception as error:  # noqa: BLE001 - as above
        return Document(problems=(_defect(error),), parsed=False)


def _defect(error: Exception) -> Problem:
    """A document that our own code fails on."""
    return Problem(
        ObjectRef("Document", "", "?"),
        Reason.UNPARSABLE,
        f"cannot be read, by a bug in Plait: {type(error).__name__}: {error}",
        "Please report this with the document",
        source=Source("", 1),
    )


def _decode_all(document: Yaml, cluster: str, text: str = "") -> Document:
    entries: list[Entry] = []
    refused: set[ObjectRef] = set()
    problems: list[Problem] = []
    for base, value in expand(document.value):

        def locate(path: FieldPath, base: FieldPath = base) -> Source:
            return Source("", document.line(base + path))

        outcome = decode(value, locate)
        problems.extend(outcome.problems)
        if outcome.object is not None:
            taken = take(outcome.object, cluster)
            entries.append(Entry(outcome.object.ref, taken, document.line(base), text))
        elif outcome.ref is not None:
            refused.add(outcome.ref)
    return Document(tuple(entries), frozenset(refused), tuple(problems))


def placed(document: Document, path: str, line: int) -> Document:
    """The document as it stands at 0-based ``line`` of the file ``path``."""
    return replace(
        document,
        entries=tuple(
            entry._replace(line=entry.line + line, start=entry.start + line)
            for entry in document.entries
        ),
        problems=tuple(_placed(problem, path, line) for problem in document.problems),
    )


def _placed(problem: Problem, path: str, line: int) -> Problem:
    at = problem.source.line if problem.source else 1
    ref = problem.object
    if ref == ObjectRef("Document", "", "?"):
        ref = ObjectRef("File", "", path or "?")
    return replace(problem, object=ref, source=Source(path, at + line) if path else None)


def read_text(
    text: str, path: str, cluster: str = "default", known: Mapping[bytes, Document] | None = None
) -> tuple[list[Document], dict[bytes, Document]]:
    """The documents of a file, placed, and by digest of their text as they were read.

    ``known`` are results of an earlier reading: a document that is among them is not parsed again.
    """
    documents: list[Document] = []
    by_digest: dict[bytes, Document] = {}
    for piece in split(text):
        digest = piece.digest
        document = by_digest.get(digest) or (known or {}).get(digest)
        if document is None:
            document = read_document(piece.text, cluster)
        by_digest[digest] = document
        documents.append(placed(document, path, piece.line))
    return documents, by_digest


class Loaded(NamedTuple):
    rows: list[Taken]
    problems: list[Problem]


def load(
    manifests: str | Iterable[Mapping[str, Any]], path: str = "", cluster: str = "default"
) -> Loaded:
    """Rows and problems of one text, or of documents that were parsed elsewhere.

    Of objects that stand there twice the first counts. Services keep the addresses that they have:
    only the files source assigns any.
    """
    if isinstance(manifests, str):
        documents, _ = read_text(manifests, path, cluster)
    else:
        whole = [_decode_all(Yaml(dict(value), None), cluster) for value in manifests]
        documents = [placed(document, path, 0) for document in whole]
    claims = Claims()
    claims.replace(FileId(TREE, path), [entry for doc in documents for entry in doc.entries])
    problems = [problem for document in documents for problem in document.problems]
    return Loaded(claims.rows(), problems + claims.problems())
