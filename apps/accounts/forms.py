"""What the settings pages take from a browser; the rules are in services."""

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Theme
from apps.accounts.services.tokens import NAME_LENGTH, SCOPES

SCOPE_LABELS = {
    "read": _("Read conversations and answers"),
    "write": _("Send messages and change things"),
}


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
