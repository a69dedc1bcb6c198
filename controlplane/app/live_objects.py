"""Live answers about objects: how far a change has come, what is stored, what is wrong with it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from controlplane.api.decode import expand, reference
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.app import views
from controlplane.app.inspect import Refused, not_found
from controlplane.app.live_parts import LiveParts
from controlplane.graph import ABSENT, AnyNode, Failed
from controlplane.rollout.delivery import FRAGMENTS
from controlplane.rollout.member import Member
from controlplane.sources.addresses import needs_address
from controlplane.sources.manifests import load, split
from controlplane.sources.objects import object_path, remove_object, save_object
from controlplane.sources.validate import validate_texts
from controlplane.sources.yamldoc import NotYaml, parse
from controlplane.translate.problems import KINDS, problems
from controlplane.world.rows import Key
from controlplane.world.schema import TABLES
from controlplane.world.tables import Table
from xds import types
from xds.wire.resource import Resource


class Objects:
    """Reads the world; stores in STATE/objects what `meshctl` applies."""

    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts
        self._directory = parts.settings.state / "objects"
        self._checked_at = -1
        self._translated: tuple[Problem, ...] = ()

    # --- progress ------------------------------------------------------------------------------

    def progress(self, ref: ObjectRef) -> views.Progress:
        table, key = self._place(ref)
        row = self._parts.graph.world.get(table, key)
        if row is None:
            raise self._absent(ref)
        found: dict[Member, bool] = {}
        for node in self._parts.graph.dependants(table, key):
            for stream in self._parts.graph.streams(node):
                if isinstance(stream, Member):
                    held = self._holds(stream, node)
                    if held is not None:
                        found[stream] = found.get(stream, True) and held
        rejected = self._rejected(ref)
        refused = {each.pod for each in rejected}
        waiting = {m.label for m, held in found.items() if not held} - refused
        return views.Progress(
            object=ref,
            hash=content_hash(row),
            applied=self._parts.pipeline.idle,
            total=len(found),
            acked=sum(found.values()),
            waiting=tuple(sorted(waiting)),
            rejected=rejected,
            problems=self.of(ref),
        )

    def _absent(self, ref: ObjectRef) -> Refused:
        for problem in self._parts.pipeline.problems:
            if problem.object == ref and problem.severity is Severity.ERROR:
                message = f"{problem.source or 'its manifest'}: {ref} is not in effect: "
                message += (
                    f"{problem.field}: {problem.message}" if problem.field else problem.message
                )
                return Refused(views.Failure(message, problem.remedy, object=str(ref)), 404)
        return not_found(str(ref), "See what there is with: meshctl status")

    def _holds(self, member: Member, node: AnyNode) -> bool | None:
        """Whether a sidecar has accepted a node's value; ``None``: it is not sent to sidecars."""
        if node.query in FRAGMENTS:
            return self._parts.delivery.holds_host(member, node)
        if node.value is ABSENT:
            return None
        value: Any = node.value
        if value is not None and not isinstance(value, Resource):
            return None
        held = True
        for wanted in member.names.get(node, ()):
            version = member.session.acked(wanted.type_url).get(wanted.name)
            held = held and version == (value.version if value is not None else None)
        return held

    def _rejected(self, ref: ObjectRef) -> tuple[views.Rejection, ...]:
        return tuple(
            views.Rejection(
                record.pod,
                types.SHORT.get(record.type_url, record.type_url),
                record.name,
                record.rejection.reason,
            )
            for record in self._parts.verdicts.rejected()
            if ref in record.objects
        )

    def _place(self, ref: ObjectRef) -> tuple[Table[Key, Any], Key]:
        table = TABLES.get(ref.kind)
        if table is None:
            raise not_found(f"kind {ref.kind}", f"Kinds: {', '.join(sorted(TABLES))}")
        return table, Key(self._parts.settings.cluster, ref.namespace, ref.name)

    # --- problems ------------------------------------------------------------------------------

    def problems(self) -> tuple[Problem, ...]:
        """Everything that is known to be wrong, errors first, then by object."""
        found = dict.fromkeys(
            (
                *self._parts.pipeline.problems,
                *self._parts.source.placed(
                    (*self._translation(), *self._parts.verdicts.problems())
                ),
                *self._parts.leaves.problems(),
                *self._failures(),
            )
        )
        return tuple(
            sorted(found, key=lambda p: (p.severity is Severity.WARNING, p.object, p.field))
        )

    def of(self, ref: ObjectRef) -> tuple[Problem, ...]:
        """Problems of one object."""
        table, key = self._place(ref)
        known = [p for p in self._parts.pipeline.problems if p.object == ref]
        found = list(self._checked(table.name, key))
        found += [p for p in self._parts.verdicts.problems() if p.object == ref]
        known += self._parts.source.placed(found)
        return tuple(dict.fromkeys(known))

    def _translation(self) -> tuple[Problem, ...]:
        """Of every object; looked for once in each revision of the world."""
        revision = self._parts.graph.revision
        if self._checked_at != revision:
            self._translated = tuple(self._translate())
            self._checked_at = revision
        return self._translated

    def _translate(self) -> Iterable[Problem]:
        for kind in KINDS:
            table: Table[Key, Any] = TABLES[kind]
            for key in self._parts.graph.world.rows(table):
                yield from self._checked(kind, key)

    def _checked(self, kind: str, key: Key) -> tuple[Problem, ...]:
        try:
            return self._parts.graph.read(problems, kind, key)
        except Failed as failed:
            ref = ObjectRef(kind, key.namespace, key.name)
            return (_internal(ref, str(failed)),)

    def _failures(self) -> Iterable[Problem]:
        for node, failure in self._parts.graph.failed.items():
            yield _internal(ObjectRef("Query", "", str(node)), str(failure))

    # --- stored objects ------------------------------------------------------------------------

    async def apply(
        self, documents: Sequence[Mapping[str, Any]], *, dry_run: bool
    ) -> views.ApplyResult:
        refs = [reference(dict(document)) for document in documents]
        found = self._judge(documents, refs)
        if any(p.severity is Severity.ERROR for p in found):
            return views.ApplyResult(problems=found)
        if dry_run:
            return views.ApplyResult(tuple(map(self._foreseen, documents)), found)
        actions = []
        for ref, document in zip(refs, documents, strict=True):
            table, key = self._place(ref)
            before = self._parts.graph.world.get(table, key)
            save_object(self._directory, document)
            actions.append((ref, table, key, before))
        await self._settled()
        applied = []
        for ref, table, key, before in actions:
            row = self._parts.graph.world.get(table, key)
            applied.append(_applied(ref, before, row))
        return views.ApplyResult(tuple(applied), found)

    def _foreseen(self, document: Mapping[str, Any]) -> views.Applied:
        """What storing a valid document would do."""
        [taken] = load([document], cluster=self._parts.settings.cluster).rows
        before, row = self._parts.graph.world.get(taken.table, taken.key), taken.row
        if before is not None and taken.table.name == "Service" and needs_address(row):
            row = replace(row, cluster_ips=before.cluster_ips)  # it would keep its address
        return _applied(reference(dict(document)), before, row)

    def _judge(
        self, documents: Sequence[Mapping[str, Any]], refs: Sequence[ObjectRef]
    ) -> tuple[Problem, ...]:
        # JSON is YAML: one text a document, so that a problem is told from its neighbours.
        texts = {str(ref): json.dumps(doc) for ref, doc in zip(refs, documents, strict=True)}
        found = [_needed(p) for p in validate_texts(texts)]
        unknown = {p.object for p in found if p.reason is Reason.UNKNOWN_KIND}
        for ref in refs:
            if ref in unknown:
                continue  # told already, with the nearest name
            if ref.kind not in TABLES:
                found.append(
                    Problem(
                        ref,
                        Reason.UNKNOWN_KIND,
                        f"Plait stores no objects of kind {ref.kind or '?'}",
                        f"Kinds: {', '.join(sorted(TABLES))}",
                    )
                )
            elif (source := self._parts.source.find(ref)) is not None:
                found.append(
                    Problem(
                        ref,
                        Reason.CONFLICTED,
                        f"the object stands in {source} already",
                        "Change it there, or remove it there first",
                        source=source,
                    )
                )
        return tuple(dict.fromkeys(found))

    async def delete(self, ref: ObjectRef) -> views.Applied:
        self._place(ref)
        try:
            removed = remove_object(self._directory, ref)
        except ValueError:  # it names no file, so it was never stored
            removed = False
        if not removed:
            source = self._parts.source.find(ref)
            if source is not None:
                message = f"{ref} stands in {source}"
                raise Refused(views.Failure(message, "Remove it there", object=str(ref)), 409)
            raise not_found(str(ref), "See what there is with: meshctl status")
        await self._settled()
        return views.Applied(ref, views.Action.DELETED)

    async def _settled(self) -> None:
        """Return when the world holds what was written, and streams were given it."""
        await self._parts.source.refresh()
        self._parts.pipeline.hurry()
        since = 0
        while not self._parts.pipeline.idle:
            since = await self._parts.signal.changed(since)

    def get(self, kind: str, namespace: str | None, name: str | None) -> views.Manifests:
        table, _ = self._place(ObjectRef(kind, "", ""))
        found = []
        for key in sorted(self._parts.graph.world.rows(table)):
            if namespace not in (None, key.namespace) or name not in (None, key.name):
                continue
            manifest = self._manifest(ObjectRef(kind, key.namespace, key.name))
            if manifest is not None:
                found.append(manifest)
        return views.Manifests(tuple(found))

    def _manifest(self, ref: ObjectRef) -> views.Manifest | None:
        source = self._parts.source.find(ref)
        if source is None:
            path = object_path(self._directory, ref)
            if not path.is_file():
                return None
            return views.Manifest(ref, json.loads(path.read_text()))
        path = self._parts.settings.directory / source.path
        try:
            text = path.read_text()
        except OSError:
            return None
        for piece in split(text):
            for value in _documents(piece.text):
                if reference(value) == ref:
                    return views.Manifest(ref, value, source)
        return None


def _documents(text: str) -> Iterable[dict[str, Any]]:
    """The objects of one document, read as the source reads them, within the same bounds; none
    when it does not parse."""
    try:
        value = parse(text).value
    except NotYaml:
        return
    yield from (item for _, item in expand(value) if isinstance(item, dict))


def _needed(problem: Problem) -> Problem:
    """As `apply` sees it: what would be stored and never read is an error, for it could take the
    place of an object that is."""
    severity = Severity.ERROR if problem.reason is Reason.UNKNOWN_KIND else problem.severity
    return replace(problem, source=None, severity=severity)


def _applied(ref: ObjectRef, before: object, row: object) -> views.Applied:
    """What became of an object, from its row before and after."""
    action = (
        views.Action.CREATED
        if before is None
        else views.Action.UNCHANGED
        if before == row
        else views.Action.CONFIGURED
    )
    return views.Applied(ref, action, content_hash(row) if row else "")


def content_hash(row: object) -> str:
    """Hash of what Plait reads of an object."""
    return blake2b(repr(row).encode(), digest_size=8).hexdigest()


def _internal(ref: ObjectRef, text: str) -> Problem:
    return Problem(
        ref,
        Reason.INTERNAL,
        f"a bug in Plait: {text}",
        "Sidecars keep what they have; please report this with the manifest",
    )
