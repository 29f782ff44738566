"""`foretell ts`: specs of time series, for those who train the models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import (
    json_option,
    print_facts,
    print_json,
    print_table,
    printable,
)

if TYPE_CHECKING:
    from app.timeseries.checking import Check
    from backends.timeseries.clock import Times
    from backends.timeseries.intervals import Backtests, Block, Intervals
    from backends.timeseries.spec import Spec

_FILE = click.Path(path_type=Path)
_FRAMES = (".csv", ".parquet")


@click.group()
def ts() -> None:
    """Try specs of time series, and derive what models of theirs are trained on."""


# ---- foretell ts frame


def _frame_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _FRAMES:
        raise click.BadParameter(f"{text!r} does not end in {' or '.join(_FRAMES)}.")
    return path


@ts.command()
@click.argument("spec", type=_FILE)
@click.argument("data", type=_FILE)
@click.option(
    "--out",
    required=True,
    type=_frame_file,
    metavar="FILE",
    help="What to write: a .csv, or a .parquet.",
)
@json_option
def frame(spec: Path, data: Path, out: Path, as_json: bool) -> None:
    """Derive the rows that a model is trained on.

    DATA, .csv or .parquet, has a row for each series and step. The output has the
    features by the names that SPEC gives them, the target `y` with its transforms, and
    of each row what it was forecast from.
    """
    from app.timeseries.frame_file import write_frame

    rows, names = write_frame(spec, data, out)
    if as_json:
        print_json({"rows": rows, "features": names, "out": str(out)})
    else:
        click.echo(f"{rows} rows of {len(names)} features derived into {out}")


# ---- foretell ts check


@ts.command()
@click.argument("spec", type=_FILE)
@click.argument("model", type=_FILE)
@click.argument("sample", type=_FILE)
@json_option
def check(spec: Path, model: Path, sample: Path, as_json: bool) -> None:
    """Forecast a sample request with a spec and its model.

    MODEL is the model file; with one for each forecast distance it is the folder that
    they are in, under the names that SPEC gives them. SAMPLE is a CSV file as a request
    would bring it: history and the rows to be predicted.
    """
    from app.config import Config
    from app.timeseries.checking import check as run

    found = run(spec, model, sample, Config.from_environment())
    if as_json:
        print_json(_needs(found.plan.panel.spec) | _forecasts(found))
    else:
        print_facts(_needs_in_words(found.plan.panel.spec))
        click.echo()
        _print_forecasts(found)


def _needs(spec: Spec) -> dict[str, Any]:
    """What requests have to bring."""
    window = spec.forecast_window
    return {
        "target": spec.target,
        "strategy": spec.strategy,
        "features": spec.names,
        "models": len(spec.models) or 1,
        "datetime_column": spec.datetime_column,
        "datetime_format": spec.datetime_format,
        "series_id_column": spec.series_id_column,
        "history_steps": spec.history,
        "history_columns": list(spec.historic_columns),
        "time_step": spec.time_step,
        "time_unit": "ROW" if spec.is_row_based else spec.time_unit,
        "forecast_window": [window.start, window.end],
        "known_in_advance": list(spec.known_in_advance),
    }


def _needs_in_words(spec: Spec) -> dict[str, Any]:
    needs = _needs(spec)
    window, length = spec.forecast_window, f"{spec.time_step} {needs['time_unit']}"
    if spec.is_row_based:
        length = "a ROW"
    history = ", ".join(spec.historic_columns)
    known = ", ".join(spec.known_in_advance)
    ahead = f"{window.start} to {window.end} steps after it"
    return {
        "target": f"{spec.target} ({spec.target_type})",
        "strategy": spec.strategy,
        "features": len(spec.features),
        "models": needs["models"],
        "timestamps": f"{spec.datetime_column}, {spec.datetime_format}",
        "series": spec.series_id_column,
        "history": f"{spec.history} steps of {length} to the forecast point: {history}",
        "future rows": f"{ahead}: {known}" if known else ahead,
    }


def _forecasts(found: Check) -> dict[str, Any]:
    plan = found.plan
    panel, pairs = plan.panel, plan.pairs
    told = zip(
        [panel.labels[each] for each in pairs.series.tolist()],
        _iso(plan.forecast_points),
        _iso(panel.times[pairs.rows]),
        pairs.distances.tolist(),
        pairs.rows.tolist(),
        found.values.tolist(),
        strict=True,
    )
    names = ("series", "forecast_point", "timestamp", "distance", "row_id", "values")
    return {
        "classes": _classes(found),
        "forecasts": [dict(zip(names, each, strict=True)) for each in told],
    }


def _print_forecasts(found: Check) -> None:
    facts = _forecasts(found)
    answers = [printable(f"P({each})") for each in facts["classes"]]
    rows = [
        [
            *(each[key] for key in ("series", "forecast_point", "timestamp")),
            each["distance"],
            *(f"{value:.10g}" for value in each["values"]),
        ]
        for each in facts["forecasts"]
    ]
    print_table(
        [
            *("SERIES", "FORECAST POINT", "TIMESTAMP", "DISTANCE"),
            *(answers or ["PREDICTION"]),
        ],
        rows,
    )


def _classes(found: Check) -> list[Any]:
    """The classes whose probabilities are forecast."""
    model = found.model
    return [model.positive_label] if model.task == "binary" else list(model.labels)


def _iso(times: Times) -> list[str]:
    import numpy as np

    texts: list[str] = np.datetime_as_string(times, "s").tolist()
    return [f"{text}Z" for text in texts]


# ---- foretell ts intervals


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(sorted({int(size) for size in text.split(",")}))
    except ValueError:
        sizes = ()
    if not sizes or sizes[0] < 1 or sizes[-1] > 99:
        raise click.BadParameter(f"{text!r} is no list of percents from 1 to 99.")
    return sizes


@ts.command()
@click.argument("spec", type=_FILE)
@click.argument("model", type=_FILE)
@click.argument("data", type=_FILE)
@click.option(
    "--out", required=True, type=_FILE, metavar="FILE", help="The spec to write."
)
@click.option(
    "--sizes",
    type=_sizes,
    default="50,80,95",
    show_default=True,
    metavar="a,b,c",
    help="Percents of what is to come that the intervals are made for.",
)
@click.option(
    "--backtests",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="How often the model is trained again and forecasts what then came.",
)
@click.option(
    "--horizon-steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many steps it forecasts then.  [from the data]",
)
@json_option
def intervals(
    spec: Path,
    model: Path,
    data: Path,
    out: Path,
    sizes: tuple[int, ...],
    backtests: int,
    horizon_steps: int | None,
    as_json: bool,
) -> None:
    """Make prediction intervals from what forecasts of the past were wrong by.

    The LightGBM MODEL is trained again on parts of DATA, with the parameters that its
    file records. The newest part is kept from the intervals, and tells what they cover.
    MODEL is as for `check`.
    """
    from app.config import Config
    from app.offline import written
    from app.timeseries.backtesting import backtest_files
    from app.training_data import read_table
    from backends.timeseries.intervals import with_intervals
    from backends.timeseries.spec_json import load_spec

    loaded = load_spec(spec)
    found = backtest_files(
        *(loaded, model, read_table(data), Config.from_environment()),
        backtests=backtests,
        steps=horizon_steps,
    )
    made = found.intervals(sizes)
    text = json.dumps(
        with_intervals(loaded.raw, made),
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    with written(spec, out) as file:
        file.write(f"{text}\n".encode())
    if as_json:
        print_json(_facts(found, made) | {"out": str(out)})
    else:
        _print_backtests(found, made)
        click.echo(f"\nIntervals of {len(made)} sizes written into {out}")


def _facts(found: Backtests, made: Intervals) -> dict[str, Any]:
    return {
        "backtests": [_block(block) for block in found.blocks],
        "held_out": _block(found.held_out),
        "coverage": [
            {"size": size, "covered": None if math.isnan(share) else _percent(share)}
            for size, share in found.coverage(made).items()
        ],
    }


def _block(block: Block) -> dict[str, Any]:
    import numpy as np

    start, end = _iso(np.array([block.start, block.end]))
    return {
        "start": start,
        "end": end,
        "training_rows": block.training_rows,
        "forecasts": len(block.residuals),
    }


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _print_backtests(found: Backtests, made: Intervals) -> None:
    facts = _facts(found, made)
    blocks = [*facts["backtests"], facts["held_out"]]
    names = [f"backtest {place}" for place in range(1, len(blocks))] + ["held out"]
    print_table(
        ["BLOCK", "FROM", "TO", "TRAINED ON", "FORECASTS"],
        [[name, *block.values()] for name, block in zip(names, blocks, strict=True)],
    )
    click.echo()
    print_table(
        ["INTERVAL %", "COVERED %"],
        [list(each.values()) for each in facts["coverage"]],
    )
    click.echo(
        "\nWhat they cover was counted on the block that was held out. Intervals are no"
        "\nguarantee: they hold as often only where what is to come is like the past."
    )
