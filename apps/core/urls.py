"""Addresses of nobody: health, figures, and the token against forged forms."""

from django.urls import path

from apps.core import views

app_name = "core"
urlpatterns = [
    path("health/live", views.live, name="live"),
    path("health/ready", views.ready, name="ready"),
    path("metrics", views.figures, name="metrics"),
    path("csrf/", views.csrf, name="csrf"),
]
