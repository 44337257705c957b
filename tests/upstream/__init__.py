"""A fake model provider: a real HTTP server on loopback that speaks the OpenAI wire, well or badly as asked."""
