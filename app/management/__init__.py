"""What the management API tells of deployments, and how its requests are read."""
