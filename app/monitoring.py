"""What monitoring is told: a picture of the present, taken when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.services import Services
from app.store.errors import StoreUnavailable
from backends import compiled
from backends.compiled import Verdict


def exposition(services: Services) -> bytes:
    """The metrics in Prometheus's text format.

    Most is read from the picture of the store that requests are answered by. What the
    workers count together is read from the store, and left out while that is away.
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
        yield from self._humility()

    def _humility(self) -> Iterator[Metric]:
        """Counts of the rules that there are now; of all workers, to the second."""
        try:
            totals = self._services.humility_totals.read()
        except StoreUnavailable:
            # An answer without them says so; none would tell nothing at all.
            return
        found = {(each.deployment_id, each.rule_id): each for each in totals}
        labels = ["deployment", "rule"]
        triggered = CounterMetricFamily(
            "foretell_humility_triggered_rows",
            "Rows that a humility rule triggered for.",
            labels=labels,
        )
        looked_at = CounterMetricFamily(
            "foretell_humility_rows",
            "Rows that were held against a humility rule.",
            labels=labels,
        )
        for deployment in self._services.snapshot.deployments.values():
            for rule in deployment.settings.humility:
                key = deployment.id, rule.id
                total = found.get(key)
                triggered.add_metric(key, total.triggered if total else 0)
                looked_at.add_metric(key, total.looked_at if total else 0)
        yield triggered
        yield looked_at

    def _verdict(self, model_id: str, format: str) -> Verdict:
        """What serves the model here, or would if it were loaded."""
        verdict = compiled.read(self._services.compiled.path(model_id), format)
        engine = self._services.models.engine(model_id)
        if engine in (None, verdict.engine):
            return verdict
        # It was loaded when there was another verdict, or its arrays are damaged.
        return Verdict(engine, "" if engine == compiled.TREES else "damaged")
