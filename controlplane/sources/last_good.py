"""What stays in effect of a bad file, as a text that outlives a restart. Pure.

A record holds whole documents, each with the line where it began and the objects to take from it:
rows are made from them anew at the start, by the code that runs then. A record belongs to one file
of one directory; another directory's file of the same name has another.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from controlplane.sources.claims import Entry, FileId
from controlplane.sources.manifests import placed, read_document

VERSION = 1


class Record(NamedTuple):
    """What was read from a record; objects that this Plait refuses are not among the entries."""

    root: str
    file: FileId
    entries: tuple[Entry, ...]


def record_name(root: str, file: FileId) -> str:
    """The name of a file's record: paths are too long for one, and hold slashes."""
    place = json.dumps([root, file.rank, file.path]).encode()
    return f"{hashlib.blake2b(place, digest_size=16).hexdigest()}.json"


def dump(root: str, file: FileId, kept: Iterable[Entry]) -> bytes:
    """The record of entries that stay in effect, in the order of their documents."""
    documents: dict[tuple[int, str], list[list[str]]] = {}
    for entry in kept:
        documents.setdefault((entry.start, entry.text), []).append(list(entry.ref))
    body = {
        "version": VERSION,
        "root": root,
        "rank": file.rank,
        "path": file.path,
        "documents": [
            {"line": line, "objects": objects, "text": text}
            for (line, text), objects in documents.items()
        ],
    }
    text = json.dumps(body, indent=1, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"  # a path need not be UTF-8


def restore(data: bytes, cluster: str) -> Record:
    """Read what `dump` wrote. Raises ValueError saying what is wrong with it."""
    body = json.loads(data)
    if not isinstance(body, dict) or body.get("version") != VERSION:
        raise ValueError(f"not version {VERSION} of a last good text")
    try:
        root, file = str(body["root"]), FileId(int(body["rank"]), str(body["path"]))
        entries = [e for each in body["documents"] for e in _entries(each, file, cluster)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a part is missing or of another type: {error}") from None
    return Record(root, file, tuple(entries))


def _entries(document: dict[str, Any], file: FileId, cluster: str) -> Iterable[Entry]:
    wanted = [tuple(map(str, ref)) for ref in document["objects"]]
    read = placed(read_document(document["text"], cluster), file.path, int(document["line"]))
    for entry in read.entries:
        if tuple(entry.ref) in wanted:
            wanted.remove(tuple(entry.ref))
            yield entry
