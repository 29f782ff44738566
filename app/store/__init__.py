"""Deployments, users, tokens and model bundles: what has to outlive a process."""
