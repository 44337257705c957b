"""The settings of one's own account, and the one-time sign-in link. Signing in and out is allauth's."""

from typing import cast

from allauth.account import views as account_views
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from apps.accounts.forms import NameForm, ThemeForm, TokenForm
from apps.accounts.models import User
from apps.accounts.services import links, preferences, tokens, users
from apps.core.errors import DomainError
from apps.core.http import THEME_COOKIE, error_response, is_htmx, render_page

BACKEND = "apps.accounts.authentication.Backend"
THEME_COOKIE_AGE = 365 * 24 * 3600


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return redirect("accounts:profile")


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    user = _user(request)
    form = NameForm(request.POST or None, initial={"first_name": user.first_name})
    if request.method == "POST" and form.is_valid():
        users.rename(user=user, first_name=form.cleaned_data["first_name"])
        messages.success(request, _("Saved."))
        return redirect("accounts:profile")
    context = {"form": form, "tab": "profile", "has_password": user.has_usable_password()}
    return render_page(request, "settings/profile.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def appearance(request: HttpRequest) -> HttpResponse:
    """Show and set the theme; the browser remembers it too, for pages that know no user."""
    user = _user(request)
    form = ThemeForm(request.POST or None, initial={"theme": preferences.preferences_of(user=user).theme})
    if request.method != "POST" or not form.is_valid():
        context = {"form": form, "tab": "appearance"}
        return render_page(request, "settings/appearance.html", context, status=422 if form.errors else 200)
    theme = preferences.set_theme(user=user, theme=form.cleaned_data["theme"]).theme
    if is_htmx(request):
        # The menu of a conversation shows the theme already.
        response = HttpResponse(status=204)
    else:
        messages.success(request, _("Saved."))
        response = redirect("accounts:appearance")
    response.set_cookie(
        THEME_COOKIE,
        theme,
        max_age=THEME_COOKIE_AGE,
        samesite="Lax",
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
    )
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("plain")
def token_list(request: HttpRequest) -> HttpResponse:
    """List tokens, and make one: the answer to the POST is the only page that ever shows it."""
    user = _user(request)
    form, plain, status = TokenForm(), "", 200
    if request.method == "POST":
        form = TokenForm(request.POST)
        status = 422
        if form.is_valid():
            _row, plain = tokens.make_token(user=user, **form.cleaned_data)
            form, status = TokenForm(), 201
    context = {"form": form, "plain": plain, "tokens": tokens.list_tokens(user=user), "tab": "tokens"}
    return render_page(request, "settings/tokens.html", context, status=status)


@require_POST
def token_revoke(request: HttpRequest, token_id: str) -> HttpResponse:
    token = tokens.revoke_token(user=_user(request), token_id=token_id)
    messages.success(
        request, _("“%(name)s” is revoked. It opens nothing any more.") % {"name": token.name or token.hint}
    )
    return redirect("accounts:tokens")


@login_not_required
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out as allauth does, and have the browser forget what it kept: the next one at it may be somebody else."""
    response: HttpResponse = account_views.logout(request)
    if request.method == "POST":
        response["Clear-Site-Data"] = '"storage"'
    return response


@login_not_required
@require_GET
@sensitive_variables("secret")
def sign_in_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Sign in at once: the link comes from a terminal, so nobody but its reader opens it before."""
    try:
        user = links.use_link(secret=secret)
    except links.LinkSpent as error:
        response = redirect("/") if request.user.is_authenticated else _spent(request, error)
    else:
        login(request, user, backend=BACKEND)
        response = redirect("/")
    # The address is a secret until it is used: no page it leads to may learn it.
    response["Referrer-Policy"] = "no-referrer"
    return response


def _spent(request: HttpRequest, error: DomainError) -> HttpResponse:
    hint = _("Print a fresh one with “manage.py sign_in_link”, or sign in with your password.")
    return error_response(request, type(error)(f"{error.text} {hint}"))


def _user(request: HttpRequest) -> User:
    # SignedInMiddleware lets nobody else in.
    return cast(User, request.user)
