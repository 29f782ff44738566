"""Features of time series: one definition for training and for serving.

For training code, which needs no server::

    spec = load_spec("spec.json")
    X, y, meta = training_frame(frame, spec)
"""
