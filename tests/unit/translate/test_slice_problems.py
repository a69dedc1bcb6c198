"""An EndpointSlice that belongs to no Service has no effect, and says so."""

from controlplane.api.problem import Severity
from tests.unit.translate.meshes import endpoint, found, mesh, service, slice_of

FIELD = "metadata.labels[kubernetes.io/service-name]"


def test_a_slice_without_the_label_of_its_service() -> None:
    manifest = slice_of("a", endpoint("10.0.0.1"), name="a-1")
    graph = mesh(service("a"), manifest)
    assert found(graph, "EndpointSlice", "a-1") == ()
    for labels in ({}, {"kubernetes.io/service-name": ""}, {"app": "a"}):
        manifest["metadata"]["labels"] = labels
        [problem] = found(mesh(service("a"), manifest), "EndpointSlice", "a-1")
        assert problem.severity is Severity.WARNING
        assert problem.field == FIELD
        assert problem.message == "the label that names its Service is missing"
        assert problem.remedy == "Set the label to a Service of this namespace"
