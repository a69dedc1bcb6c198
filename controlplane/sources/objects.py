"""The objects that meshctl created in files mode: one file each, in a directory of the state.

They are manifests like the user's, so they can be read, copied into the tree and deleted by hand.
The files source reads them; this module only writes and removes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.api.decode import reference
from controlplane.api.problem import ObjectRef
from controlplane.durable import OS_FS, Fs, make_directory, remove_durably, write_durably


def object_path(directory: Path, ref: ObjectRef) -> Path:
    """``<Kind>.<namespace>.<name>.json``: kinds and namespaces have no dots."""
    parts = (ref.kind, ref.namespace, ref.name)
    if any("/" in part or part.startswith(".") for part in parts):
        raise ValueError(f"{ref} cannot name a file")
    return directory / f"{'.'.join(part for part in parts if part)}.json"


def save_object(directory: Path, manifest: Mapping[str, Any], *, fs: Fs = OS_FS) -> Path:
    """Write a valid manifest, replacing the object's former one. Raises `StateError`."""
    make_directory(directory)
    path = object_path(directory, reference(dict(manifest)))
    write_durably(path, json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n", fs=fs)
    return path


def remove_object(directory: Path, ref: ObjectRef, *, fs: Fs = OS_FS) -> bool:
    """Remove an object; False when there was none. Raises `StateError`."""
    return remove_durably(object_path(directory, ref), fs=fs)
