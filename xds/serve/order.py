"""What may leave next on one stream, so that no client ever holds a route to a missing cluster.

Order: clusters, their endpoints right behind them, secrets, extensions, listeners, routes, then
the clusters that were asked for on demand (they release held traffic), removals last.
Additions rely on the order of the one stream and never on an ACK, because Envoy withholds the ACK
of clusters while any of them warms. Removals wait for the ACKs of whatever replaced their users.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from xds.serve.lanes import WINDOW, Lane
from xds.serve.limits import Limits
from xds.serve.subscription import Subscription
from xds.types import CLUSTER, ENDPOINT, LISTENER, PUSH_ORDER, ROUTE
from xds.wire.resource import Resource

USERS: Final = (LISTENER, ROUTE)
LINKING: Final = (CLUSTER, LISTENER, ROUTE)
"""Types whose resources refer to others."""
_RANK: Final = {type_url: rank for rank, type_url in enumerate(PUSH_ORDER)}

Subscriptions = Mapping[str, Subscription]
Needs = Mapping[tuple[str, str], tuple[str, ...]]
"""(type URL, name) of a listener or route to the clusters that it refers to, where known."""


def rank(type_url: str) -> int:
    """Position of a type in the push order; unknown ones last."""
    return _RANK.get(type_url, len(_RANK))


def additions(
    subscriptions: Subscriptions,
    subscription: Subscription,
    needs: Needs,
    endpoints: Mapping[str, str],
    limits: Limits,
) -> tuple[Lane, list[Resource]] | None:
    """The next additions and changes of one type. ``endpoints``: assignments by cluster."""
    pending = subscription.pending
    if not pending:
        return None
    gated = subscription.type_url in USERS
    early = _early(subscriptions, subscription, endpoints)
    for lane, names in _windows(subscription, pending):
        allowed = _satisfied(subscriptions, subscription, names, needs) if gated else names
        if early:
            allowed = [name for name in allowed if name not in early]
        if allowed:
            return lane, _fitting(subscription, allowed, limits)
    return None


def _early(
    subscriptions: Subscriptions, subscription: Subscription, endpoints: Mapping[str, str]
) -> frozenset[str]:
    """Assignments that must wait for a change of their cluster that is not sent yet: an endpoint
    with a new identity would be refused by the cluster as it stands. Never one that a cluster
    which was sent is warming for."""
    if subscription.type_url != ENDPOINT or not endpoints:
        return frozenset()
    clusters = subscriptions.get(CLUSTER)
    if clusters is None or not clusters.pending:
        return frozenset()
    # A first assignment is never held up: whoever uses the cluster waits for it.
    held = {
        endpoints[name]
        for name in clusters.pending
        if name in clusters.sent and endpoints.get(name) in subscription.sent
    }
    return frozenset(held.difference(subscription.forced))


def absences(subscription: Subscription, limits: Limits) -> tuple[str, ...]:
    """Names to answer as absent now, up to the size of one response."""
    absent = subscription.absent
    if not absent or subscription.in_flight(Lane.DEMAND) >= WINDOW:
        return ()
    if len(absent) == 1:
        return tuple(absent)
    chosen: list[str] = []
    room = limits.response
    for name in sorted(absent):
        room -= len(name) + 4
        if room < 0 and chosen:
            break
        chosen.append(name)
    return tuple(chosen)


def answers(
    subscriptions: Subscriptions, limits: Limits
) -> tuple[Lane, Subscription, list[Resource]] | None:
    """The next asked-for clusters, once nothing urgent that they lead to is unsent."""
    clusters = subscriptions.get(CLUSTER)
    if clusters is None or not clusters.last:
        return None
    for other in subscriptions.values():
        if other.pending and Lane.DEMAND in other.pending.values():
            return None
    for lane, names in _windows(clusters, clusters.last):
        return lane, clusters, _fitting(clusters, names, limits)
    return None


def removals(subscriptions: Subscriptions) -> Subscription | None:
    """The type whose removals may leave now: listeners, routes, clusters, then the rest."""
    if not any(each.leaving for each in subscriptions.values()):
        return None
    users = [each for url in USERS if (each := subscriptions.get(url)) is not None]
    if any(user.pending or user.flights for user in users):
        return None
    for user in users:
        if user.leaving:
            return user
    if any(user.stuck() for user in users):
        return None
    clusters = subscriptions.get(CLUSTER)
    if clusters is not None:
        if clusters.leaving:
            return clusters if clusters.in_flight(Lane.CONFIG) == 0 else None
        if clusters.pending or clusters.flights:
            return None
    for each in subscriptions.values():
        if each.leaving and each.in_flight(Lane.CONFIG) == 0:
            return each
    return None


def introduced(subscriptions: Subscriptions) -> bool:
    """Whether the client has said what it holds of every type that refers to another."""
    return all(
        (each := subscriptions.get(url)) is not None and each.opened for url in (*LINKING, ENDPOINT)
    )


def _windows(
    subscription: Subscription, queue: Mapping[str, Lane]
) -> Iterator[tuple[Lane, list[str]]]:
    """The names of ``queue`` that each lane's window lets through, urgent ones first."""
    demand = [name for name, lane in queue.items() if lane is Lane.DEMAND]
    if demand and subscription.in_flight(Lane.DEMAND) < WINDOW:
        yield Lane.DEMAND, demand
    if len(demand) == len(queue):
        return
    outstanding = subscription.in_flight(Lane.CONFIG)
    config = [name for name, lane in queue.items() if lane is Lane.CONFIG]
    if 0 < outstanding < WINDOW:
        sent, forced = subscription.sent, subscription.forced
        config = [name for name in config if name not in sent or name in forced]
    if config and outstanding < WINDOW:
        yield Lane.CONFIG, config


def _satisfied(
    subscriptions: Subscriptions, subscription: Subscription, names: list[str], needs: Needs
) -> list[str]:
    """Of some listeners or routes, those whose clusters and endpoints were sent."""
    clusters = subscriptions.get(CLUSTER)
    if clusters is None:
        return names
    if not clusters.opened:
        return [] if clusters.wishes else names
    endpoints = subscriptions.get(ENDPOINT)
    if endpoints is not None and endpoints.forced:
        return []
    missing: bool | None = None
    allowed = []
    for name in names:
        needed = needs.get((subscription.type_url, name))
        if needed is None:
            if missing is None:
                missing = clusters.unsent_additions()
            if not missing:
                allowed.append(name)
        elif all(
            each in clusters.sent or each not in clusters.wishes or not clusters.tracks(each)
            for each in needed
        ):
            allowed.append(name)
    return allowed


def _fitting(subscription: Subscription, names: list[str], limits: Limits) -> list[Resource]:
    """The resources of ``names`` up to the size of one response, at least one."""
    wishes = subscription.wishes
    if len(names) == 1:
        return [wishes[names[0]]]
    chosen: list[Resource] = []
    room = limits.response
    for name in names:
        resource = wishes[name]
        room -= len(resource.entry)
        if room < 0 and chosen:
            break
        chosen.append(resource)
    return chosen
