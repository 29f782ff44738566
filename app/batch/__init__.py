"""Files that are scored as a whole, beside the requests."""
