"""Forecasts of time series: from a request's rows to those of the answer."""
