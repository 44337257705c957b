"""Pages: each view reads a request, makes at most one writing service call, and answers with a page or a part of it."""
