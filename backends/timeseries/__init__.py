"""Time series: features that are derived by one definition, in training and in serving.

For training code, which needs no server::

    from backends.timeseries import load_spec, training_frame

    spec = load_spec("spec.json")
    X, y, meta = training_frame(frame, spec)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backends.timeseries.frames import compare, training_frame
    from backends.timeseries.from_mlforecast import spec_from_mlforecast
    from backends.timeseries.intervals import backtest
    from backends.timeseries.spec import Spec, SpecError
    from backends.timeseries.spec_json import load_spec

__all__ = [
    "Spec",
    "SpecError",
    "backtest",
    "compare",
    "load_spec",
    "spec_from_mlforecast",
    "training_frame",
]

# A server has no use for most of them, nor for the pandas that they bring.
_MODULES = {
    "Spec": "spec",
    "SpecError": "spec",
    "backtest": "intervals",
    "compare": "frames",
    "load_spec": "spec_json",
    "spec_from_mlforecast": "from_mlforecast",
    "training_frame": "frames",
}


def __getattr__(name: str) -> Any:
    """Import what is named when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
