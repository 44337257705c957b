"""Users and their tokens for staff: nobody's messages, and no secret that was ever stored."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest

from apps.accounts.models import ApiToken, User

admin.site.site_header = admin.site.site_title = "Bough"
admin.site.index_title = "Administration"
# One way in for everybody: limits, MFA and the sign-in page are the site's.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    list_display = ("email", "username", "is_active", "is_staff", "last_login", "date_joined")
    list_per_page = 50
    show_full_result_count = False
    ordering = ("email", "pk")
    search_help_text = "E-mail address or name"
    search_fields = ("email", "username", "first_name")
    readonly_fields = ("last_login", "date_joined")


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Read only, but for taking a token away."""

    list_display = ("hint", "name", "user", "scopes", "created_at", "last_used_at", "revoked_at")
    list_per_page = 50
    list_select_related = ("user",)
    show_full_result_count = False
    search_fields = ("user__email", "name", "hint")
    fields = ("user", "name", "hint", "scopes", "created_at", "last_used_at", "revoked_at")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False
