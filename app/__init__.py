"""Deployments, users and requests: joins the wire and the models."""
