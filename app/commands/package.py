"""`foretell package`: a model file and what is known of it become a bundle."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from app.commands.printing import (
    json_option,
    print_facts,
    print_json,
    print_made,
    printable,
)

if TYPE_CHECKING:
    from app.bundling import PackageReport
    from app.config import Config
    from app.rows.packaging import TensorReport

_FILE = click.Path(path_type=Path)

# What goes with --io.
_WITH_IO = frozenset(
    ("models", "io_file", "samples", "name", "out", "tar", "as_json"),
)
# What goes with --unstructured.
_WITH_BYTES = _WITH_IO | {"unstructured", "beside"}


def _names(text: str) -> tuple[str, ...]:
    # As in a line of CSV: quotes around a name that has a comma.
    try:
        return tuple(next(csv.reader([text], strict=True), ()))
    except csv.Error as error:
        raise click.BadParameter(f"{text!r} is no list a,b,c: {error}.") from None


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...", type=_FILE)
@click.option(
    "--data",
    type=_FILE,
    metavar="FILE",
    help="What the model was trained on, with the target: .csv or .parquet.",
)
@click.option(
    "--target", metavar="COLUMN", help="What is predicted.  [what a spec says]"
)
@click.option(
    "--time-series",
    "spec",
    type=_FILE,
    metavar="SPEC",
    help="Spec of a time series model, JSON.",
)
@click.option(
    "--io",
    "io_file",
    type=_FILE,
    metavar="FILE",
    help="ONNX: JSON that names inputs and outputs of any shape, instead of --data.",
)
@click.option(
    "--unstructured",
    is_flag=True,
    help="Bytes in, bytes out: MODEL is an ONNX graph, or a Python hook (.py).",
)
@click.option(
    "--with",
    "beside",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A file that the Python hook reads; may be repeated.",
)
@click.option(
    "--samples",
    type=_FILE,
    metavar="FILE",
    help="With --io: JSON of rows that the bundle is checked with.  [made-up rows]",
)
@click.option(
    "--task",
    type=click.Choice(["binary", "regression", "multiclass"]),
    help="[what the model file says]",
)
@click.option(
    "--positive-class", metavar="X", help="Binary: the class predicted.  [the second]"
)
@click.option(
    "--holdout",
    type=_FILE,
    metavar="FILE",
    help="Rows that the model was not trained on, for bounds, metrics and impact;"
    " of time series with their history.",
)
@click.option(
    "--holdout-fraction",
    type=float,
    metavar="F",
    help="Instead of such a file: the share of the data taken, of time series the"
    " newest.  [0.2]",
)
@click.option(
    "--threshold",
    type=float,
    default=0.5,
    show_default=True,
    metavar="T",
    help="Binary: positive above this probability.",
)
@click.option("--name", help="What people call the model.  [the file's name]")
@click.option(
    "--labels",
    type=_names,
    metavar="a,b,c",
    help="Class names in the model's order.  [the file's, else the sorted values]",
)
@click.option(
    "--categorical",
    type=_names,
    metavar="a,b,c",
    help="LightGBM: the category columns, in the training frame's order.",
)
@click.option(
    "--features",
    type=_names,
    metavar="a,b,c",
    help="The columns that the model takes, in its order.  [as the file says]",
)
@click.option(
    "--output",
    metavar="NAME",
    help="ONNX: the output that holds probabilities or values.",
)
@click.option(
    "--offset",
    metavar="COLUMN",
    help="LightGBM: the column that was the init_score of training.",
)
@click.option(
    "--exposure",
    metavar="COLUMN",
    help="LightGBM, log link: the column whose logarithm it was.",
)
@click.option(
    "--reference-rows",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Rows of the data that the bundle keeps.",
)
@click.option("--out", required=True, type=_FILE, metavar="DIR", help="Folder to make.")
@click.option("--tar", type=_FILE, metavar="FILE", help="Also write a .tar of it.")
@json_option
def package(
    models: tuple[Path, ...],
    spec: Path | None,
    io_file: Path | None,
    samples: Path | None,
    unstructured: bool,
    beside: tuple[Path, ...],
    as_json: bool,
    holdout_fraction: float | None,
    **given: Any,
) -> None:
    """Make a bundle of MODEL and its training data, or its --io.

    MODEL is a LightGBM text model or an ONNX graph. What the bundle holds is in
    docs/bundle.md.

    A time series model has a spec, and may have a MODEL for each forecast distance, in
    their order; without any they are those that the spec names.

    A graph of named tensors, pictures say, has no training data here: --io names what
    it takes and answers. `foretell io MODEL` prints one to begin with.

    With --unstructured the bundle takes bytes and answers bytes: see
    docs/unstructured.md.
    """
    from app.config import Config

    if unstructured:
        from app.commands.unstructured import package_unstructured

        _check_alone("--unstructured", _WITH_BYTES)
        wanted = {name: given[name] for name in ("name", "out", "tar")}
        sources = {"io": io_file, "samples": samples, "beside": beside}
        package_unstructured(models, wanted | sources, as_json)
        return
    if beside:
        raise click.UsageError("--with goes with --unstructured.")
    if io_file is not None:
        report = _package_tensors(models, io_file, samples, given)
        _print_tensors(report, as_json)
        return
    if given["data"] is None:
        raise click.UsageError("Missing option '--data' or '--io'.")
    if samples is not None:
        raise click.UsageError("--samples goes with --io.")
    if holdout_fraction is not None:
        if given["holdout"] is not None:
            raise click.UsageError("Give --holdout or --holdout-fraction, not both.")
        given["holdout_fraction"] = holdout_fraction
    config = Config.from_environment()
    if spec is None:
        made = _package(models, given, config)
    else:
        made = _package_time_series(models, spec, given, config)
    _print(made, as_json)


def _print(report: PackageReport, as_json: bool) -> None:
    for warning in report.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)
    facts = _facts(report)
    if as_json:
        print_json(facts)
    else:
        facts |= {
            f"holdout {name}": each for name, each in facts.pop("metrics").items()
        }
        del facts["warnings"]
        print_facts({name.replace("_", " "): each for name, each in facts.items()})


def _package(
    models: tuple[Path, ...], given: dict[str, Any], config: Config
) -> PackageReport:
    from app.package import PackageOptions, package

    if len(models) != 1:
        raise click.UsageError("Give one MODEL, or --time-series.")
    if given["target"] is None:
        raise click.UsageError("Missing option '--target'.")
    return package(PackageOptions(model=models[0], **given), config)


def _package_time_series(
    models: tuple[Path, ...], spec: Path, given: dict[str, Any], config: Config
) -> PackageReport:
    from app.timeseries.card import TimeSeriesOptions
    from app.timeseries.packaging import package

    for name in ("task", "labels", "categorical", "features", "offset", "exposure"):
        if given.pop(name) is not None:
            raise click.UsageError(f"--{name} does not go with --time-series.")
    return package(TimeSeriesOptions(models=models, spec=spec, **given), config)


def _package_tensors(
    models: tuple[Path, ...], io_file: Path, samples: Path | None, given: dict[str, Any]
) -> TensorReport:
    from app.config import Config
    from app.rows.packaging import TensorOptions, package

    _check_alone("--io", _WITH_IO)
    if len(models) != 1:
        raise click.UsageError("Give one MODEL.")
    wanted = {name: given[name] for name in ("name", "out", "tar")}
    options = TensorOptions(model=models[0], io=io_file, samples=samples, **wanted)
    return package(options, Config.from_environment())


def _check_alone(option: str, allowed: Collection[str]) -> None:
    """Raise UsageError for what is given and does not go with an option."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        is_given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if is_given and name not in allowed:
            raise click.UsageError(f"{parameter.opts[0]} does not go with {option}.")


def _print_tensors(report: TensorReport, as_json: bool) -> None:
    model = report.model
    facts = {
        "model_id": model.id,
        "name": model.name,
        "format": model.format,
        "task": model.task,
        "inputs": [field.name for field in report.spec.inputs],
        "outputs": [field.name for field in report.spec.outputs],
        "golden_rows": report.golden_rows,
        "bundle": str(report.folder),
        "tar": report.tar and str(report.tar),
    }
    print_made(facts, as_json)


def _facts(report: PackageReport) -> dict[str, Any]:
    model = report.model
    beside = {"offset": model.offset, "exposure": model.exposure}
    return {
        "model_id": model.id,
        "name": model.name,
        "format": model.format,
        "task": model.task,
        "target": model.target,
        "labels": list(model.labels),
        "positive_label": model.positive_label,
        "features": len(model.features),
        **{name: column for name, column in beside.items() if column is not None},
        **({"model_files": len(model.files)} if model.files else {}),
        "training_rows": report.training_rows,
        "holdout_rows": report.holdout_rows,
        "golden_rows": report.golden_rows,
        "reference_rows": report.reference_rows,
        "metrics": dict(report.metrics),
        "warnings": list(report.warnings),
        "bundle": str(report.folder),
        "tar": report.tar and str(report.tar),
    }
