"""Calling the API in tests: JSON in, JSON out, by a signed-in session or a token."""

import json

from django.test import Client

from apps.accounts.services import tokens


class Calls:
    """Send JSON to the API as one user; `headers` go with every call."""

    def __init__(self, client=None, **headers):
        self.client = client or Client()
        self.headers = headers

    def __call__(self, method, path, body=None, **options):
        headers = {**self.headers, **options.pop("headers", {})}
        options.setdefault("content_type", "application/json")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, f"/api{path}", data, headers=headers, **options)

    def get(self, path, **options):
        return self("GET", path, **options)

    def post(self, path, body=None, **options):
        return self("POST", path, body, **options)

    def patch(self, path, body=None, **options):
        return self("PATCH", path, body, **options)

    def delete(self, path, **options):
        return self("DELETE", path, **options)


def by_session(user):
    client = Client()
    client.force_login(user)
    return Calls(client)


def by_token(user, *, scopes=("read", "write")):
    _, plain = tokens.make_token(user=user, scopes=scopes)
    return Calls(Authorization=f"Bearer {plain}")
