"""Websocket routes: there is one."""

from channels.routing import URLRouter
from django.urls import path

from apps.conversations.consumers import LiveConsumer

websocket_application = URLRouter([path("ws/", LiveConsumer.as_asgi())])
