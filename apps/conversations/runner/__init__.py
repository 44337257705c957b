"""Runners: they claim generations, talk to providers and write answers. One asyncio loop, no transaction across a call."""
