"""Print what breaks the invariants of an installation's database, as JSON; run in its environment."""

import json

import django

if __name__ == "__main__":
    django.setup()
    from apps.conversations.services.invariants import find_problems

    print(json.dumps([f"{problem.rule.name}: {problem.count} of {problem.ids}" for problem in find_problems()]))
