"""Makes users with API tokens and signed-in sessions in a data folder; run as `python -m bench.people`, prints JSON."""

from __future__ import annotations

import argparse
import json
import os

import django


def make_people(count: int) -> list[dict[str, str]]:
    """Make users, each with a token and the key of a session."""
    from django.test import Client  # noqa: PLC0415  (settings come first)

    from apps.accounts.services import tokens, users  # noqa: PLC0415

    people = []
    for number in range(count):
        user = users.create_user(email=f"reader{number}@bench.example")
        _row, token = tokens.make_token(user=user, name="bench")
        browser = Client()
        browser.force_login(user)
        people.append({"email": user.email, "token": token, "session": browser.cookies["sessionid"].value})
    return people


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    print(json.dumps(make_people(options.count)))
