"""What accounts can do: one module a noun."""
