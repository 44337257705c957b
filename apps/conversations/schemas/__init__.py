"""Shapes of the HTTP API: what it takes and what it gives, field by field. Rules and queries live in services."""
