"""The ASGI application: static files, HTTP by Django, the socket by Channels."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402  (after Django is set up)

from config.http import HttpHandler, with_static_files  # noqa: E402
from config.routing import websocket_application  # noqa: E402

application = ProtocolTypeRouter({"http": with_static_files(HttpHandler()), "websocket": websocket_application})
