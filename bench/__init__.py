"""Measurements of Bough on one machine, beside a bare relay; `python -m bench --help`. No tests, no product code."""
