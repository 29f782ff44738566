"""Who may import whom, and what has to be entered in which table."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import app
import backends
import schemas
from app.blueprints import LAYOUTS
from app.error_handlers import _STATUS
from app.store import errors as store_errors

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "backends", "schemas")

# The modules that know Flask: the URLs, the view, and what hangs it all together.
WEB = [
    *("app.blueprints", "app.blueprints.*", "app.predictions", "app.context"),
    *("app.rows.forward", "app.unstructured.predictions"),
    *("app.error_handlers", "app.factory", "app.front"),
]
COMMAND_LINE = ["app.cli", "app.commands", "app.commands.*"]
STORE = ["app.store", "app.store.*"]

# A package that is not ours, and the only modules that may import it.
MEMBERS = {
    "flask": WEB,
    "click": COMMAND_LINE,
    "marshmallow": ["schemas.*"],
    "apispec": ["schemas.openapi"],
    "sqlalchemy": [*STORE, "app.doctor.settings"],
    "alembic": STORE,
    "onnxruntime": ["backends.onnx"],
    "onnx": ["backends.onnx_file", "backends.onnx_graph", "backends.trees.onnx.graph"],
    # The training library itself is asked when a bundle is made, and trains models
    # again for intervals.
    "lightgbm": ["app.golden", "app.timeseries.backtesting"],
    "pandas": [
        "app.golden",
        "backends.timeseries.frames",
        "backends.timeseries.intervals",
    ],
    "shap": ["backends.explanations.shapley"],
    "matplotlib": ["app.commands.picture"],
    "numba": ["backends.trees.*"],
    "PIL": ["backends.tensors.images"],
    "dask": ["app.batch.cluster"],
    "distributed": ["app.batch.cluster", "app.batch.silent"],
    "prometheus_client": ["app.monitoring"],
    # The type of exception that its bodies raise.
    "gunicorn": ["app.front", "app.receiving"],
    # Only what it knows of HTTP; no request, no response.
    "werkzeug": [*WEB, "app.body", "app.multipart", "app.packing", "app.rows.body"]
    # Its hashes of passwords.
    + ["app.passwords", "app.bundle_bodies"],
}

# Ours, and all of ours that it may import. The first pattern that fits counts.
LAYERS = {
    "schemas.*": ["schemas", "schemas.*"],
    "backends": ["backends.*"],
    "backends.*": ["backends", "backends.*"],
    "app.errors": [],
    "app.passwords": ["app.errors"],
    "app.machine": [],
    "app.config": ["app.machine"],
    "app.store.*": [
        *("app.store", "app.store.*", "app.errors"),
        *("backends.model", "backends.humility", "backends.humility_json"),
        "backends.tars",
    ],
    "app.batch.places": ["app.config", "app.errors"],
    "app.pace": [],
    "app.batch.patience": ["app.pace"],
    "app.batch.web": ["app.batch.patience", "app.batch.places", "app.pace"],
    "app.batch.parquet": ["app.batch.intake", "app.errors", "app.tokens"],
    "app.multipart": ["app.errors"],
    "app.body": ["app.config", "app.errors", "app.multipart"],
    "app.json_records": ["app.errors"],
    "app.csv_records": ["app.errors", "backends.features"],
    "app.decode": [
        *("app.body", "app.config", "app.errors", "app.*_records"),
        "backends.features",
    ],
    "app.batch.spec": [],
    "app.batch.cutting": ["app.csv_records", "app.errors"],
    "app.batch.cluster": ["app.errors", "app.batch.silent"],
    "app.additivity": ["backends.explanations.base"],
    "app.explaining": ["app.additivity", "backends.*"],
    "app.scoring": ["app.errors", "app.explaining", "backends", "backends.*"],
    "app.tokens": [],
    "app.json_rows": ["backends.model"],
    "app.explanation_columns": ["app.explaining", "app.tokens", "backends.*"],
    "app.humility_columns": ["app.tokens", "backends.*"],
    "app.prediction_columns": [
        *("app.humility_columns", "app.scoring", "app.tokens"),
        "backends.*",
    ],
    "app.output_columns": [
        *("app.errors", "app.prediction_columns", "app.tokens", "backends.model"),
    ],
    "app.encode": [
        *("app.decode", "app.errors", "app.scoring", "app.tokens", "app.json_rows"),
        *("app.explanation_columns", "app.humility_columns"),
        *("app.output_columns", "app.prediction_columns", "backends.*"),
    ],
    "app.timeseries.chunk": ["backends.features"],
    "app.timeseries.writer": [
        *("app.errors", "app.scoring", "app.timeseries.chunk", "app.tokens"),
        *("app.json_rows", "app.explanation_columns", "app.humility_columns"),
        *("app.output_columns", "app.prediction_columns", "backends.*"),
    ],
    "app.rows.piece": [],
    "app.rows.body": [
        *("app.body", "app.errors", "app.json_records", "app.multipart"),
        "backends.tensors.*",
    ],
    "app.rows.tabular": [
        *("app.humility_columns", "app.model_cache", "app.prediction_columns"),
        *("app.rows.piece", "app.scoring", "app.tokens", "backends.*"),
    ],
    "app.rows.tensors": ["app.errors", "app.rows.piece", "backends.tensors.*"],
    "app.unstructured.folders": ["app.store.folders"],
    "app.unstructured.hooks": [
        *("app.config", "app.errors", "app.unstructured.folders"),
        "backends.unstructured.*",
    ],
    "app.explanation_request": [
        *("app.explaining", "app.explanation_columns", "app.model_cache"),
        *("app.store.settings", "backends.*", "schemas.*"),
    ],
    "app.replacement": [
        *("app.errors", "app.store.records", "app.store.settings", "backends.*"),
    ],
    "app.humility_changes": ["app.errors", "app.store.*", "backends.*"],
    # What is told and read; views tell and read it over HTTP.
    "app.management.*": [
        *("app.management.*", "app.access_log", "app.body", "app.errors"),
        *("app.humility_changes", "app.json_records", "app.multipart"),
        *("app.receiving", "app.replacement"),
        *("app.services", "app.store.*", "backends", "backends.*"),
        *("schemas.errors", "schemas.management"),
    ],
    "app.bulk": ["app.errors"],
    "app.rate_limits": ["app.errors"],
    "app.admission": ["app.errors"],
    "app.access_log": [],
    "app.auth": ["app.errors", "app.store.records"],
}

# Exceptions that no request can meet, each with the reason.
NEVER_IN_A_REQUEST = {
    "AppError": "the ancestor of the others",
    "InvalidConfig": "the process does not start",
    "OutputColumnsRefused": "told as the state of a batch job",
    "JobLost": "whoever is at a job stops, and whoever ends it finds it ended",
    "InvalidDatabaseUrl": "the process does not start",
    "InvalidStoreUrl": "the process does not start",
    "SchemaTooNew": "the process does not start",
    "NotShared": "told as UnknownModel",
    "LocationRefused": "told as InvalidFields",
    "InvalidTar": "the library serves the model then",
    "TarRefused": "told as BundleRejected or InvalidTar",
    "InvalidId": "looked for where identifiers are compared",
    "UnknownModel": "told as ModelUnavailable",
    "ModelFileRejected": "told as ModelUnavailable when a model is loaded",
    "BundleRejected": "told as ModelUnavailable when a model is loaded",
    "InvalidModelCard": "told as BundleRejected",
    "CompiledDamaged": "the library serves the model then",
    "NotCovered": "the library serves the model then",
    "NothingToCompare": "training code compares",
    "BoundsUnknown": "the command line asks for bounds",
    "InvalidBundle": "the command line changes the store",
    "TooSlow": "told as LocationRefused, or tried again",
    "NoMessage": "told as HookFailed",
    "NoAnswer": "told as HookFailed by the hook's process",
    "_Gone": "told as HookFailed",
    "SpecError": "told as ModelUnavailable when a model is loaded",
    "KeptBundleDamaged": "the command line meets it, and what checks sent bundles",
    "CheckRefused": "told by the operation",
    "PasswordRefused": "the command line sets passwords",
    "NameTaken": "the command line changes the store",
    "DeploymentIdTaken": "the command line changes the store",
    "UnknownToken": "the command line changes the store",
    "AmbiguousToken": "the command line changes the store",
}


def modules() -> dict[str, Path]:
    """Module name to file, of the three packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "migrations" not in parts:
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """Names of what a module imports, also inside functions and for types."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = str(node.module)
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in MODULES} or {module}
    return found


def is_any(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


@pytest.mark.parametrize("module", MODULES)
def test_libraries_are_imported_by_their_members_only(module):
    for name in imports(MODULES[module]):
        members = MEMBERS.get(name.partition(".")[0])
        assert members is None or is_any(module, members), f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_layers_import_what_lies_below_them(module):
    allowed = next((LAYERS[each] for each in LAYERS if fnmatch(module, each)), None)
    for name in filter(is_ours, imports(MODULES[module])):
        if allowed is not None:
            assert is_any(name, allowed), f"{module} imports {name}"
        # The web stands on top of everything.
        if not is_any(module, WEB):
            assert not is_any(name, WEB), f"{module} imports {name}"
        if not is_any(module, COMMAND_LINE):
            assert not is_any(name, COMMAND_LINE), f"{module} imports {name}"


def test_schemas_know_the_wire_only():
    for module, path in MODULES.items():
        if not is_any(module, ["schemas", "schemas.*"]):
            continue
        others = {name.partition(".")[0] for name in imports(path)}
        allowed = {"marshmallow", "apispec", "schemas"}
        assert others - sys.stdlib_module_names <= allowed, module


def test_backends_know_models_only():
    for module, path in MODULES.items():
        if is_any(module, ["backends", "backends.*"]):
            assert not {"app", "schemas", "flask", "werkzeug"} & {
                name.partition(".")[0] for name in imports(path)
            }, module


@pytest.mark.parametrize("module", MODULES)
def test_packages_are_never_imported_from_themselves(module):
    # `from app import x` would run through the package for a module of it.
    for name in imports(MODULES[module]):
        assert name != "app", module


# Who reads the environment, beside the settings: the library variables that have to
# be set before a library is loaded, and processes that are started with it.
ENVIRONMENT = {
    "app.config": "the settings",
    "backends.onnx": "turns the library's telemetry off before it is imported",
    "app.doctor.libraries": "starts a process with it",
    "app.commands.server": "hands it on to the server that it starts",
    "app.batch.starting": "hands it on to the runner that it starts",
    "app.batch.runner": "sets what libraries read when they are loaded",
}


def reads_environment(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in ("environ", "environb", "getenv", "putenv")
        for node in ast.walk(tree)
    )


def test_environment_is_read_in_the_settings_only():
    found = {module for module, path in MODULES.items() if reads_environment(path)}
    assert found == set(ENVIRONMENT)


def exceptions() -> Iterator[type[Exception]]:
    """Every exception class that is defined here, the command line's own left out."""
    for package in (app, backends, schemas):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" in info.name or is_any(info.name, COMMAND_LINE):
                continue
            module = importlib.import_module(info.name)
            for _, found in inspect.getmembers(module, inspect.isclass):
                if issubclass(found, Exception) and found.__module__ == info.name:
                    yield found


# Raised by what the command line runs: packaging, offline scoring, the child process.
OFFLINE = [
    *("app.package", "app.bundling", "app.model_file", "app.training_data"),
    *("app.reference",),
    *("app.golden", "app.validation", "app.equality", "app.offline", "app.nginx"),
    *("app.doctor.*", "app.machine", "backends.sandbox"),
    # Where models are trained.
    *("backends.timeseries.from_mlforecast", "backends.timeseries.intervals"),
    "app.timeseries.frame_file",
    # Where batch jobs run.
    *("app.batch.cluster", "app.batch.job", "app.batch.running"),
]


def test_every_exception_has_a_status_or_a_reason_to_have_none():
    for found in exceptions():
        if is_any(found.__module__, OFFLINE):
            continue
        has_status = any(kind in _STATUS for kind in found.__mro__)
        named = f"{found.__module__}.{found.__name__}"
        assert has_status != (found.__name__ in NEVER_IN_A_REQUEST), named


def test_every_status_is_one_of_the_contract():
    assert set(_STATUS.values()) <= {
        *(400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 429, 480, 503, 504)
    }
    assert _STATUS[store_errors.UnknownDeployment] == 404


def test_tables_name_what_is_there():
    for place in [*LAYOUTS.values(), *backends.FORMATS.values()]:
        module, _, name = place.partition(":")
        assert hasattr(importlib.import_module(module), name), place


def test_no_test_folder_is_a_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_modules_say_what_they_are():
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert not text or ast.get_docstring(ast.parse(text)), module


SERVING = """
import sys, wsgi
from app.config import Config
from backends.trees.kernel_cache import prepare
prepare(Config.from_environment().kernels)
KIND = "application/json"
wsgi.application.extensions["foretell"].refresh()
client = wsgi.application.test_client()
EXPLAINED = "?maxExplanations=2"
SHAP = f"{EXPLAINED}&explanationAlgorithm=shap"
asked = list(zip(sys.argv[2::2], sys.argv[3::2]))
asked = [(*each, query) for each in asked for query in ("", EXPLAINED)]
# The first is the only one that is binary.
for deployment, body, query in [*asked, (*asked[0][:2], SHAP)]:
    path = f"/api/v2/deployments/{deployment}/predictions{query}"
    header = {"Authorization": f"Bearer {sys.argv[1]}"}
    answer = client.post(path, data=body, headers=header, content_type=KIND)
    assert answer.status_code == 200, answer.data
heavy = {"pandas", "lightgbm", "sklearn", "onnx", "onnxruntime", "shap", "apispec"}
print(sorted(heavy & set(sys.modules)))
with open("/proc/self/maps") as maps:
    mapped = maps.read()
print([name for name in ("lib_lightgbm", "libgomp", "onnxruntime") if name in mapped])
"""


def test_answering_with_trees_takes_none_of_the_heavy_libraries(site, specimens):
    arguments = [site.tokens["ann@example.com"]]
    for name in ("churn", "plan", "onnx-iris"):
        frame = specimens[name].frame[:2]
        arguments += [site.deployments[name], frame.to_json(orient="records")]
    done = subprocess.run(
        [sys.executable, "-c", SERVING, *arguments],
        cwd=ROOT,
        env={**os.environ, "FORETELL_HOME": str(site.home)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.splitlines()[-2:], done.stderr) == (["[]", "[]"], "")
