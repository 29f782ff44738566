"""Formats: which backend serves which model file."""
