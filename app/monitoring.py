"""What monitoring is told: a picture of the present, taken when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from app.services import Services
from backends import compiled
from backends.compiled import Verdict


def exposition(services: Services) -> bytes:
    """The metrics in Prometheus's text format.

    They are read from the picture of the store that requests are answered by: there
    is nothing that the workers would have to count together.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Present(services))
    return generate_latest(registry)


class _Present(Collector):
    """Collects what holds now, in the worker that is asked."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "foretell_build",
            "The release that is running.",
            value={"version": version("foretell")},
        )
        deployments = InfoMetricFamily(
            "foretell_deployment",
            "A deployment with a model, what serves the model, and why not `trees`.",
            labels=["deployment", "model", "format", "task", "engine", "reason"],
        )
        snapshot = self._services.snapshot
        for deployment in snapshot.deployments.values():
            if deployment.model_id is None:
                continue
            model = snapshot.models[deployment.model_id]
            verdict = self._verdict(deployment.model_id, model.format)
            deployments.add_metric(
                [deployment.id, deployment.model_id, model.format, model.task]
                + [verdict.engine, verdict.reason],
                {},
            )
        yield deployments

    def _verdict(self, model_id: str, format: str) -> Verdict:
        """What serves the model here, or would if it were loaded."""
        verdict = compiled.read(self._services.compiled.path(model_id), format)
        engine = self._services.models.engine(model_id)
        if engine in (None, verdict.engine):
            return verdict
        # It was loaded when there was another verdict, or its arrays are damaged.
        return Verdict(engine, "" if engine == compiled.TREES else "damaged")
