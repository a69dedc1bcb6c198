"""The version of Plait that runs."""

import importlib.metadata


def release() -> str:
    """The installed package's version; ``unreleased`` from a source tree that is not installed."""
    try:
        return importlib.metadata.version("plait")
    except importlib.metadata.PackageNotFoundError:
        return "unreleased"
