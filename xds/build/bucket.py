"""Time buckets in the names that Envoy asks for on demand.

Envoy never asks for a name twice; a name with a bucket is a new one after its bucket is over.
"""

from datetime import timedelta


def start_time(bucket: timedelta) -> str:
    """The command that prints the bucket: it changes every second, minute or hour (``bucket`` below
    a minute, below an hour, longer)."""
    return f"%START_TIME({_format(bucket)})%"


def _format(bucket: timedelta) -> str:
    if bucket < timedelta(minutes=1):
        return "%s"
    return "%Y%m%d%H%M" if bucket < timedelta(hours=1) else "%Y%m%d%H"
