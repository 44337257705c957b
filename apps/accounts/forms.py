"""What the settings pages take from a browser, and allauth's forms in our words; the rules are in services."""

from typing import Any

from allauth.account import forms as account_forms
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.totp import forms as totp_forms
from django import forms
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Theme
from apps.accounts.services import users
from apps.accounts.services.tokens import NAME_LENGTH, SCOPES

SCOPE_LABELS = {
    "read": _("Read conversations and answers"),
    "write": _("Send messages and change things"),
}


class Labelled:
    """A form of allauth whose labels stand above the fields; placeholders that repeat them are left out."""

    labels: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():  # type: ignore[attr-defined]
            field.widget.attrs.pop("placeholder", None)
            field.label = self.labels.get(name, field.label)


class LoginForm(Labelled, account_forms.LoginForm):
    labels = {"login": _("E-mail or name")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs |= {
            "autocomplete": "username",
            "autocapitalize": "none",
            "spellcheck": "false",
        }


class SignupForm(Labelled, account_forms.SignupForm):
    labels = {"email": _("E-mail"), "username": _("Name (optional)"), "password2": _("Password again")}


class ChangePasswordForm(Labelled, account_forms.ChangePasswordForm):
    labels = {
        "oldpassword": _("Current password"),
        "password1": _("New password"),
        "password2": _("New password again"),
    }


class SetPasswordForm(Labelled, account_forms.SetPasswordForm):
    labels = {"password2": _("Password again")}


class ResetPasswordForm(Labelled, account_forms.ResetPasswordForm):
    labels = {"email": _("E-mail")}


class ResetPasswordKeyForm(Labelled, account_forms.ResetPasswordKeyForm):
    labels = {"password1": _("New password"), "password2": _("New password again")}


class ChangeEmailForm(Labelled, account_forms.AddEmailForm):
    labels = {"email": _("New e-mail")}

    def save(self, request: Any) -> Any:
        """Note the new address, and see to it that a user whose old one was never confirmed keeps one to sign in with."""
        address = super().save(request)
        users.keep_an_address(user=self.user, email=address.email)
        return address


class ReauthenticateForm(Labelled, account_forms.ReauthenticateForm):
    pass


class CodeForm(Labelled, mfa_forms.AuthenticateForm):
    labels = {"code": _("Code")}


class ReauthenticateCodeForm(Labelled, mfa_forms.ReauthenticateForm):
    labels = {"code": _("Code")}


class ActivateTOTPForm(Labelled, totp_forms.ActivateTOTPForm):
    labels = {"code": _("Code from the app")}


class TokenForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=NAME_LENGTH,
        help_text=_("What will use it, for example “Notes script”."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=[(scope, SCOPE_LABELS[scope]) for scope in SCOPES],
        initial=list(SCOPES),
        widget=forms.CheckboxSelectMultiple,
    )


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(
        label=_("Theme"),
        choices=[(Theme.SYSTEM, _("As the system has it")), (Theme.LIGHT, _("Light")), (Theme.DARK, _("Dark"))],
        widget=forms.RadioSelect,
    )


class NameForm(forms.Form):
    first_name = forms.CharField(
        label=_("Your name"),
        max_length=150,
        required=False,
        help_text=_("How Bough greets you. Nobody else sees it."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
