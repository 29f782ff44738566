"""What a job's spec says of its output, as a request would."""

from __future__ import annotations

from app.batch.spec import BatchSpec
from app.output_columns import OutputColumns
from schemas.arguments import ExplanationArguments
from schemas.fields import ALL


def explanations_of(spec: BatchSpec) -> ExplanationArguments | None:
    """What is to be explained; None if nothing is."""
    most = spec.max_explanations
    if not most and spec.explanation_algorithm != "shap":
        return None
    ngrams = spec.max_ngram_explanations
    return ExplanationArguments(
        most=ALL if most == "all" else most,
        algorithm=spec.explanation_algorithm or "xemp",
        low=spec.threshold_low,
        high=spec.threshold_high,
        top_classes=spec.explanation_num_top_classes,
        class_names=spec.explanation_class_names or (),
        most_ngrams=ALL if ngrams == "all" else ngrams or 0,
    )


def columns_of(spec: BatchSpec) -> OutputColumns:
    """Which columns the output has, and what they are called."""
    return OutputColumns(
        probabilities=spec.include_probabilities,
        classes=spec.include_probabilities_classes,
        names=spec.column_names_remapping or {},
        status=spec.include_prediction_status,
    )
