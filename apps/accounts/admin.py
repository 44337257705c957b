"""Users, their tokens and second factors for staff: nobody's messages, and no secret that was ever stored."""

from typing import Any

import allauth.account.admin
import allauth.mfa.admin  # noqa: F401  (registers first what is replaced below)
from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest

from apps.accounts.models import ApiToken, User
from apps.accounts.services import users

admin.site.site_header = admin.site.site_title = "Bough"
admin.site.index_title = "Administration"
# One way in for everybody: limits, MFA and the sign-in page are the site's.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
# A user has one address; it is changed on the user.
admin.site.unregister(EmailAddress)
# Stock, it shows the stored secrets and lets staff write some.
admin.site.unregister(Authenticator)


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    list_display = ("email", "username", "is_active", "is_staff", "last_login", "date_joined")
    list_per_page = 50
    show_full_result_count = False
    ordering = ("email", "pk")
    search_help_text = "E-mail address or name"
    search_fields = ("email", "username", "first_name")
    readonly_fields = ("last_login", "date_joined")
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "email" in form.changed_data:
            users.vouch_for(user=obj)


class LookOnly(admin.ModelAdmin):
    """A list to look at and to take from: rows are made and changed by their owners."""

    list_per_page = 50
    list_select_related = ("user",)
    show_full_result_count = False
    search_help_text = "E-mail address of the user"
    search_fields = ("user__email",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(LookOnly):
    list_display = ("hint", "name", "user", "scopes", "created_at", "last_used_at", "revoked_at")
    fields = ("user", "name", "hint", "scopes", "created_at", "last_used_at", "revoked_at")


@admin.register(Authenticator)
class AuthenticatorAdmin(LookOnly):
    """Deleting one is how a user who lost the phone gets back in."""

    list_display = ("user", "type", "created_at", "last_used_at")
    fields = ("user", "type", "created_at", "last_used_at")
