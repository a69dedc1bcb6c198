"""Live answers about identity: certificates, rotation, tokens, bootstraps."""

from collections.abc import Mapping
from datetime import timedelta

from controlplane.app import views
from controlplane.app.inspect import Refused, not_found
from controlplane.app.live_parts import LiveParts
from controlplane.app.live_sidecars import Sidecars, serial, text
from controlplane.identity import tokens
from controlplane.identity.slots import Withheld, parse_version
from controlplane.rollout.member import Member
from controlplane.translate.mesh import trust_domain
from controlplane.translate.workloads import Workload, workload
from controlplane.world.rows import Key
from xds import types
from xds.names import IDENTITY_SECRET

ANY = ("0.0.0.0", "::")  # noqa: S104  # compared, never bound


class Identities:
    """Reads the CA's slots; issues what `meshctl` asks for."""

    def __init__(self, parts: LiveParts, sidecars: Sidecars) -> None:
        self._parts = parts
        self._sidecars = sidecars
        self.port = parts.settings.listen.port
        """The xDS port that is served; known exactly once the service has started."""

    def authority(self) -> views.Authority:
        authority = self._parts.keys.authority
        return views.Authority(
            trust_domain=self._parts.graph.read(trust_domain),
            issuer=authority.key_id,
            not_after=text(authority.not_after),
            leaves=sum(1 for each in self._sidecars.members() if self._parts.secrets.version(each)),
        )

    def certs(self, pod: tuple[str, str] | None) -> views.Certificates:
        members = self._sidecars.members() if pod is None else [self._sidecars.member(*pod)]
        found = [self._certificate(each) for each in members]
        return views.Certificates(self.authority(), tuple(c for c in found if c is not None))

    def _certificate(self, member: Member) -> views.Certificate | None:
        version = self._parts.secrets.version(member)
        if version is None or member.workload is None:
            return None
        clock = self._parts.clock
        renews = self._parts.secrets.renews_in(member, clock.monotonic()) or 0.0
        return views.Certificate(
            pod=member.label,
            spiffe_id=member.workload.spiffe_id,
            serial=serial(version.serial),
            issuer=version.issuer,
            not_before=text(version.not_before),
            not_after=text(version.not_after),
            renews=text(clock.now() + timedelta(seconds=renews)),
            acked=member.session.acked(types.SECRET).get(IDENTITY_SECRET) == str(version),
        )

    def rotate(self, pod: tuple[str, str] | None) -> views.Rotation:
        member = None if pod is None else self._sidecars.member(*pod)
        before = {each: self._parts.secrets.version(each) for each in self._sidecars.members()}
        rotated = self._parts.secrets.rotate(member, self._parts.clock.monotonic())
        found = []
        for each in rotated:
            old, new = before.get(each), self._parts.secrets.version(each)
            found.append(
                views.RotatedCertificate(
                    each.label,
                    serial(old.serial) if old else "",
                    serial(new.serial) if new else "",
                )
            )
        return views.Rotation(tuple(sorted(found, key=lambda item: item.pod)))

    def rotation(self, serials: Mapping[str, str]) -> views.Rotation:
        by_pod = {each.label: each for each in self._sidecars.members()}
        found = []
        for pod, old in sorted(serials.items()):
            member = by_pod.get(pod)
            certificate = self._certificate(member) if member else None
            new = certificate.serial if certificate else ""
            acked = certificate is not None and certificate.acked and new != old
            found.append(views.RotatedCertificate(pod, old, new, acked))
        return views.Rotation(tuple(found))

    def token(self, namespace: str, pod: str) -> views.Token:
        work = self._workload(namespace, pod)
        now = self._parts.clock.now()
        lifetime = self._parts.settings.token_lifetime
        token = tokens.sign(
            self._parts.keys.token_key,
            tokens.Workload(self._parts.settings.cluster, namespace, pod, work.account),
            work.spiffe_id,
            now,
            lifetime,
        )
        return views.Token(
            pod=f"{pod}.{namespace}",
            token=token.reveal(),
            expires=text(now + lifetime),
            lifetime=lifetime.total_seconds(),
        )

    def leaf(self, namespace: str, pod: str) -> views.Leaf:
        work = self._workload(namespace, pod)
        secret = self._parts.leaves.apart(work.spiffe_id)
        if isinstance(secret, Withheld):
            problem = secret.problem
            raise Refused(views.Failure(problem.message, problem.remedy), 503)
        version = parse_version(secret.version)
        return views.Leaf(
            pod=f"{pod}.{namespace}",
            chain=secret.chain.decode(),
            key=secret.key.decode(),
            expires=text(version.not_after) if version else "",
        )

    def bootstrap(self, namespace: str, pod: str) -> views.Bootstrap:
        work = self._workload(namespace, pod)
        roots = self._parts.leaves.roots(work.scope.trust_domain).roots
        listen = self._parts.settings.listen
        return views.Bootstrap(
            pod=f"{pod}.{namespace}",
            cluster=self._parts.settings.cluster,
            owner=work.owner,
            host="127.0.0.1" if listen.host in ANY else listen.host,
            port=self.port,
            roots=roots.decode(),
            capture=work.capture.value,
            report_interval=self._parts.settings.report_interval.total_seconds(),
        )

    def _workload(self, namespace: str, pod: str) -> Workload:
        key = Key(self._parts.settings.cluster, namespace, pod)
        found = self._parts.graph.read(workload, key)
        if found is None:
            raise not_found(
                f"pod {namespace}/{pod}",
                f"Add a manifest of kind Pod with this name to {self._parts.settings.directory}",
            )
        return found
