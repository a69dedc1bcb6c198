"""Names as users type them: TYPE/NAME of objects, POD or POD.NS of sidecars, resource types."""

from controlplane.api.decode import DEFAULT_NAMESPACE
from controlplane.api.explain import nearest
from controlplane.api.problem import ObjectRef
from controlplane.api.registry import KINDS, find
from controlplane.meshctl.trouble import misused
from xds.types import SHORT

RESOURCE_TYPES = {
    "cds": "cds",
    "cluster": "cds",
    "clusters": "cds",
    "eds": "eds",
    "endpoint": "eds",
    "endpoints": "eds",
    "lds": "lds",
    "listener": "lds",
    "listeners": "lds",
    "rds": "rds",
    "route": "rds",
    "routes": "rds",
    "sds": "sds",
    "secret": "sds",
    "secrets": "sds",
}
"""What a user may type for an xDS type, by the names of `xds.types.SHORT`."""

assert set(RESOURCE_TYPES.values()) <= set(SHORT.values())


def resource_type(text: str) -> str:
    """``cds`` for cds, cluster or clusters. Raises Trouble."""
    try:
        return RESOURCE_TYPES[text.lower()]
    except KeyError:
        raise misused(
            f"{text!r} is no resource type",
            "Use listeners, routes, clusters, endpoints or secrets",
        ) from None


def object_ref(text: str, namespace: str) -> ObjectRef:
    """Parse TYPE/NAME; the type by kind, plural or short name, in any case. Raises Trouble."""
    kind, slash, name = text.partition("/")
    if not (slash and kind and name) or "/" in name:
        raise misused(f"{text!r} is no TYPE/NAME", "Write for example trafficshift/reviews")
    row = find(kind)
    if row is None:
        close = nearest(kind.lower(), [k.kind.lower() for k in KINDS])
        hint = f"Perhaps {close}/{name} is meant" if close else "docs/reference lists the kinds"
        raise misused(f"{kind!r} is no kind that Plait reads", hint)
    return ObjectRef(row.kind, namespace if row.namespaced else "", name)


def pod_name(text: str, namespace: str | None) -> tuple[str, str]:
    """(namespace, pod) of POD or POD.NS; what follows the last dot is the namespace."""
    pod, dot, last = text.rpartition(".")
    if not dot:
        pod, last = text, namespace or DEFAULT_NAMESPACE
    if not (pod and last):
        raise misused(f"{text!r} is no pod", "Write POD or POD.NAMESPACE, for example web-0.shop")
    return last, pod


def header(text: str) -> tuple[str, str]:
    """Parse ``name: value``. Raises Trouble."""
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise misused(f"{text!r} is no header", "Write -H 'name: value'")
    return name.strip().lower(), value.strip()
