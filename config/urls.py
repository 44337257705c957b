"""One include per app, and the error handlers."""

from django.contrib import admin
from django.urls import include, path

from apps.accounts.views import sign_out
from apps.conversations.api import api

urlpatterns = [
    path("", include("apps.core.urls")),
    path("", include("apps.accounts.urls")),
    path("", include("apps.conversations.urls")),
    path("accounts/logout/", sign_out),  # before allauth's, which it calls; the name is allauth's
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
]

handler400 = "apps.core.views.bad_request"
handler403 = "apps.core.views.permission_denied"
handler404 = "apps.core.views.page_not_found"
handler500 = "apps.core.views.server_error"
# Not Django's: allauth looks for it when a limit is reached.
handler429 = "apps.core.views.too_many"
