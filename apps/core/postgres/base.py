"""PostgreSQL whose pool gives only living connections, and says soon that the server is away.

Django's pool gives out every connection that a restart of the server has cut, one error each; checked by the pool itself,
each would cost its waiting time. And who asks while the server is known to be away need not wait as long as the first.
"""

from time import monotonic, sleep
from typing import Any

from django.db.backends.postgresql import base
from psycopg import OperationalError

# Seconds that who needs a connection waits for a server that may be restarting, and the pause between tries; each try
# waits for the pool as long as settings say. While the server is known to be away one try is all.
PATIENCE, PAUSE = 3.0, 0.05


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that was alive when it was taken from the pool (27 µs); a dead one has all dead ones thrown out."""

    _is_away = False

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take a connection from the pool, or make one. Raises: OperationalError if the server is away."""
        until = monotonic() + PATIENCE
        while True:
            try:
                connection = self._alive(conn_params) if self.pool else super().get_new_connection(conn_params)
            except OperationalError:
                if DatabaseWrapper._is_away or monotonic() > until:
                    DatabaseWrapper._is_away = True
                    raise
                sleep(PAUSE)
            else:
                DatabaseWrapper._is_away = False
                return connection

    def _alive(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        try:
            connection.execute("")
        except OperationalError:
            self.pool.putconn(connection)
            self.pool.check()
            connection = super().get_new_connection(conn_params)
        return connection
