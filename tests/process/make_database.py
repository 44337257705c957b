"""Migrate, collect static files and make people in one process; prints the people as JSON.

Run as `python -m tests.process.make_database COUNT`, in the environment of an installation.
"""

import json
import sys

import django

from bench.people import make_people

if __name__ == "__main__":
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    print(json.dumps(make_people(int(sys.argv[1]))))
