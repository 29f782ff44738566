"""Small real models, deployed once a session, and clients that ask for predictions."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from werkzeug.test import TestResponse

from app.config import Config, environment_name
from app.factory import create_app
from app.services import Services
from app.store.compiled import CompiledModels
from app.store.settings import DeploymentSettings
from backends.trees.kernel_cache import prepare
from tests.forecasts import Forecaster, compile_forecaster, make_forecasters
from tests.insurance import Policy, make_insurance
from tests.specimens import (
    Specimen,
    compile_specimen,
    deployment_id,
    make_specimens,
)
from tests.tensor_backends import Bundled, compile_nothing, make_tensor_models
from tests.unstructured_models import allow_hooks, make_unstructured

# Kernels are compiled once, for this run and the next ones: it takes 20 s.
KERNELS = Path(__file__).parents[1] / "build" / "kernels"
_SETTLE = Config.__post_init__


def pytest_configure() -> None:
    # Hypothesis would fail an example of more than 200 ms, which on a busy machine any
    # may take, and inputs that are slow to make up.
    settings.register_profile(
        "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[Path]:
    """The folder of compiled kernels that everything here shares.

    Settings made in this process have it unless they name another, and so have the
    servers and command lines that inherit this process's environment.
    """
    KERNELS.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, open(KERNELS / "lock", "w") as lock:
        # Of the processes of a parallel run one compiles, and the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare(KERNELS)
        fcntl.flock(lock, fcntl.LOCK_UN)
        patch.setenv(environment_name("kernels"), str(KERNELS))

        def with_kernels(config: Config) -> None:
            if not config.kernels:
                object.__setattr__(config, "kernels", KERNELS)
            _SETTLE(config)

        patch.setattr(Config, "__post_init__", with_kernels)
        yield KERNELS


@pytest.fixture
def own_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are as outside of a test run."""
    monkeypatch.setattr(Config, "__post_init__", _SETTLE)


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Specimen]:
    """Bundles by name: each task in both formats, labels of texts and of numbers."""
    return make_specimens(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def insurance(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Policy]:
    """Models with offset and exposure by name, packaged and compiled."""
    return make_insurance(tmp_path_factory.mktemp("insurance"))


@dataclass(frozen=True)
class Site:
    """A state folder with users, their tokens and a deployment for each specimen.

    tokens: by user's name. users: name to id. deployments: by specimen's name, all
    ann's; `external` has no model and `disabled` is off.
    """

    home: Path
    users: Mapping[str, str]
    tokens: Mapping[str, str]
    deployments: Mapping[str, str]


# Deployments beside those of each specimen: name to the specimen's.
OTHERS = {"external": None, "disabled": "churn"}


@pytest.fixture(scope="session")
def site(
    specimens: Mapping[str, Specimen], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    return make_site(
        tmp_path_factory.mktemp("home"), specimens, compile_specimen, OTHERS
    )


Deployed = TypeVar("Deployed", Specimen, Forecaster, Bundled)


def make_site(
    home: Path,
    deployed: Mapping[str, Deployed],
    compile: Callable[[Deployed, CompiledModels], None],
    others: Mapping[str, str | None],
) -> Site:
    """Deploy models under their names, and some under others; see `OTHERS`."""
    services = Services(Config(home=home))
    store = services.store
    store.migrate()
    users = {
        name: store.add_user(name, admin=name == "root").id
        for name in ("ann@example.com", "bob", "root")
    }
    for each in deployed.values():
        services.bundles.put(each.folder, each.model.id)
        compile(each, services.compiled)
        store.add_model(each.model, "ann@example.com", 1)
    models = {name: each.model.id for name, each in deployed.items()}
    for name, model_id in {**models, **others}.items():
        store.create_deployment(
            name,
            "ann@example.com",
            models.get(model_id, model_id),
            deployment_id=deployment_id(name),
        )
    if "disabled" in others:
        store.set_enabled(deployment_id("disabled"), False)
    tokens = {name: store.create_token(name)[1] for name in users}
    services.close()
    deployments = {name: deployment_id(name) for name in {**models, **others}}
    return Site(services.config.home, users, tokens, deployments)


@pytest.fixture(scope="session")
def forecasters(
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Forecaster]:
    """Time series models by name."""
    return make_forecasters(tmp_path_factory.mktemp("forecasters"))


@pytest.fixture(scope="session")
def forecast_site(
    forecasters: Mapping[str, Forecaster], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """A state folder of its own, with a deployment for each of them."""
    home = tmp_path_factory.mktemp("forecasts")
    return make_site(home, forecasters, compile_forecaster, {})


@pytest.fixture(scope="session")
def tensor_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A state folder of its own, with a deployment for each graph of named tensors."""
    bundles = make_tensor_models(tmp_path_factory.mktemp("tensors"))
    home = tmp_path_factory.mktemp("tensor-home")
    return make_site(home, bundles, compile_nothing, {})


@pytest.fixture(scope="session")
def unstructured_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A state folder with graphs of raw tensors, and with hooks that may run."""
    bundles = make_unstructured(tmp_path_factory.mktemp("unstructured"))
    home = tmp_path_factory.mktemp("unstructured-home")
    site = make_site(home, bundles, compile_nothing, {})
    services = Services(Config(home=home))
    allow_hooks(services, site.deployments)
    services.close()
    return site


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The URL of an S3 server of this test run."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://NAME of an empty bucket, which this process and its children may use."""
    from urllib.request import Request, urlopen

    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{secrets.token_hex(6)}"
    urlopen(Request(f"{object_store}/{name}", method="PUT")).close()
    return f"s3://{name}"


class Caller:
    """Asks one application for predictions, as ann unless told otherwise."""

    LAYOUTS = {
        "legacy": "/predApi/v1.0/deployments/{}/predictions",
        "serverless": "/api/v2/deployments/{}/predictions",
        "time series": "/predApi/v1.0/deployments/{}/timeSeriesPredictions",
        "rows": "/deployment/{}/forward",
        "unstructured": "/predApi/v1.0/deployments/{}/predictionsUnstructured",
        "serverless unstructured": "/api/v2/deployments/{}/predictionsUnstructured",
    }

    def __init__(
        self,
        services: Services,
        client: FlaskClient,
        site: Site,
        layout: str = "legacy",
    ) -> None:
        """layout: that of calls which do not say theirs."""
        self.layout = layout
        self.services = services
        self.client = client
        self.site = site

    def __call__(
        self,
        deployment: str,
        body: Any = b"",
        content_type: str | None = "text/csv",
        *,
        query: str | Mapping[str, Any] = "",
        headers: Mapping[str, str] | None = None,
        layout: str | None = None,
    ) -> TestResponse:
        """POST a body; deployment: a name of the site, or an id.

        A body that can be read from is sent in chunks, without its length.
        """
        deployment_id = self.site.deployments.get(deployment, deployment)
        token = self.site.tokens["ann@example.com"]
        given = {"Authorization": f"Bearer {token}", **(headers or {})}
        sent: dict[str, Any] = {"data": body}
        if hasattr(body, "read"):
            # A test client would look for its end and announce a length.
            sent = {"environ_overrides": {"wsgi.input": body, "CONTENT_LENGTH": ""}}
            given["Transfer-Encoding"] = "chunked"
        return self.client.post(
            self.LAYOUTS[layout or self.layout].format(deployment_id),
            **sent,
            content_type=content_type,
            query_string=query,
            headers={name: value for name, value in given.items() if value},
        )

    def deploy(self, name: str, **changes: Any) -> str:
        """One more deployment of a specimen; its settings and threshold by name."""
        store = self.services.store
        first = store.deployment(self.site.deployments[name])
        threshold = changes.pop("threshold", None)
        settings = DeploymentSettings().changed(changes)
        deployment = store.create_deployment(
            f"{name} again",
            "ann@example.com",
            first.model_id,
            threshold=threshold,
            settings=settings,
        )
        self.services.refresh()
        return deployment.id


@pytest.fixture(scope="session")
def app(site: Site) -> Iterator[Flask]:
    app = create_app(Config(home=site.home))
    app.extensions["foretell"].refresh()
    yield app
    app.extensions["foretell"].close()


@pytest.fixture(scope="session")
def services(app: Flask) -> Services:
    """What the application runs on; refresh() takes up changes of the store."""
    services: Services = app.extensions["foretell"]
    return services


@pytest.fixture(scope="session")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def predict(services: Services, client: FlaskClient, site: Site) -> Caller:
    return Caller(services, client, site)


@pytest.fixture(scope="session")
def forecast(forecast_site: Site) -> Iterator[Caller]:
    """Asks an application of its own for forecasts."""
    app = create_app(Config(home=forecast_site.home))
    services: Services = app.extensions["foretell"]
    services.refresh()
    yield Caller(services, app.test_client(), forecast_site)
    services.close()


@pytest.fixture(scope="session")
def forward(tensor_site: Site) -> Iterator[Caller]:
    """Asks an application of its own for what graphs of named tensors answer."""
    app = create_app(Config(home=tensor_site.home))
    services: Services = app.extensions["foretell"]
    services.refresh()
    yield Caller(services, app.test_client(), tensor_site)
    services.close()


@pytest.fixture
def serve(site: Site) -> Iterator[Callable[..., Caller]]:
    """Callers of applications with other settings, over the same state folder."""
    yield from _callers(site)


@pytest.fixture
def serve_tensors(tensor_site: Site) -> Iterator[Callable[..., Caller]]:
    """The same, of graphs of named tensors."""
    yield from _callers(tensor_site)


@pytest.fixture
def serve_unstructured(unstructured_site: Site) -> Iterator[Callable[..., Caller]]:
    """The same, of models that take bytes."""
    yield from _callers(unstructured_site)


@pytest.fixture(scope="session")
def send(unstructured_site: Site) -> Iterator[Caller]:
    """Asks an application of its own for what unstructured models answer."""
    app = create_app(Config(home=unstructured_site.home, max_answer=2**20))
    services: Services = app.extensions["foretell"]
    services.refresh()
    yield Caller(services, app.test_client(), unstructured_site, "unstructured")
    services.close()


@pytest.fixture
def serve_forecasts(forecast_site: Site) -> Iterator[Callable[..., Caller]]:
    """The same, of time series."""
    yield from _callers(forecast_site)


def _callers(site: Site) -> Iterator[Callable[..., Caller]]:
    made = []

    def make(**settings: Any) -> Caller:
        app = create_app(Config(home=site.home, **settings))
        services: Services = app.extensions["foretell"]
        made.append(services)
        services.refresh()
        return Caller(services, app.test_client(), site)

    yield make
    for services in made:
        services.close()
