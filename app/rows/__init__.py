"""The rows API: named inputs to named outputs, for any deployment."""
