"""Settings of one's own account, and the one-time sign-in link."""

from django.urls import path

from apps.accounts import views

app_name = "accounts"
urlpatterns = [
    path("settings/", views.index, name="settings"),
    path("settings/profile/", views.profile, name="profile"),
    path("settings/appearance/", views.appearance, name="appearance"),
    path("settings/tokens/", views.token_list, name="tokens"),
    path("settings/tokens/<str:token_id>/revoke/", views.token_revoke, name="token_revoke"),
    path("sign-in/<str:secret>/", views.sign_in_link, name="sign_in_link"),
]
