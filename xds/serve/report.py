"""What a stream's client asked for, shall hold, was sent and accepted, for people to read."""

from dataclasses import dataclass

from xds.serve.subscription import Subscription


@dataclass(frozen=True, slots=True)
class ResourceState:
    """One resource of one stream. Versions are empty where there is none."""

    type_url: str
    name: str
    asked: bool
    """Subscribed by name or by wildcard."""
    wish: str
    """Version that the client shall hold."""
    sent: str
    """Version it was sent last or reported as held."""
    acked: str
    """Version it accepted last."""
    nacked: str
    """The client's reason for rejecting the wished version, when it did."""


def states(subscription: Subscription) -> list[ResourceState]:
    """Every resource of one type that is asked for, wished, sent or rejected, sorted by name."""
    s = subscription
    names = s.names.keys() | s.wishes.keys() | s.sent.keys() | s.acked.keys() | s.refused.keys()
    found = []
    for name in sorted(names):
        wish = s.wishes.get(name)
        refusal = s.refused.get(name)
        found.append(
            ResourceState(
                s.type_url,
                name,
                s.wildcard or name in s.names,
                wish.version if wish else "",
                s.sent.get(name, ""),
                s.acked.get(name, ""),
                refusal.message if refusal else "",
            )
        )
    return found
