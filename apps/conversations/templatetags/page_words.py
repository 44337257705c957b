"""The sentences that scripts say, in the reader's language. English is in static/js/words.js itself."""

from __future__ import annotations

from django import template
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

register = template.Library()

# The same keys and sentences as in static/js/words.js; a test holds the two side by side.
WORDS = {
    "announce_sent": _("Message sent"),
    "announce_answering": _("{name} is answering"),
    "announce_still": _("Still answering"),
    "announce_complete": _("Answer complete, {count} words"),
    "announce_stopped": _("Stopped"),
    "announce_failed": _("The answer failed"),
    "announce_interrupted": _("The answer was interrupted; the text so far is kept"),
    "announce_of": _("{name}: {words}"),
    "blank": _("Write a message first."),
    "cancel": _("Cancel"),
    "close": _("Close"),
    "copied": _("Copied"),
    "copy": _("Copy"),
    "copy_code": _("Copy code"),
    "copy_by_hand": _("Copying is blocked here. The text is selected: press Ctrl+C or ⌘C."),
    "draft_restored": _("Draft restored"),
    "discard": _("Discard"),
    "dismiss": _("Dismiss"),
    "error_conflict": _("The conversation changed in another tab."),
    "error_csrf": _("This page was open too long. Reload to go on."),
    "deleted_elsewhere": _("This conversation was deleted."),
    "error_gone": _("It doesn't exist or isn't yours."),
    "error_limit": _("Limit reached. Next in {time}."),
    "error_limit_over": _("You can send again now."),
    "error_network": _("Couldn't reach the server. Your text is kept."),
    "error_server": _("Something broke on our side. Nothing was lost."),
    "error_server_ref": _("Something broke on our side (ref {ref}). Nothing was lost."),
    "error_timeout": _("The server took too long. Nothing was lost."),
    "error_too_big": _("That is too big."),
    "error_updating": _("Updating the server, back in a moment."),
    "jump": _("Jump to the end"),
    "jump_new": _("New text below"),
    "not_sent_yet": _("Not sent yet"),
    "offline": _("You're offline. Your text is kept."),
    "pill_crowded": _("Many tabs are open: this one updates more slowly"),
    "pill_delayed": _("Live text is delayed"),
    "pill_offline": _("Offline: messages will not be sent"),
    "pill_polling": _("Live updates interrupted, reconnecting…"),
    "pill_reconnecting": _("Reconnecting…"),
    "pill_unreachable": _("The server can't be reached, trying again…"),
    "pill_updated": _("Updated: reload"),
    "pill_updating": _("Updating the server, back in a moment"),
    "queued": _("Will be sent when the answer ends"),
    "reload": _("Reload"),
    "remove_model": _("Remove {name}"),
    "response_ready": _("Answer ready: {title}"),
    "retry": _("Retry"),
    "sending": _("Sending…"),
    "shortcut_composer": _("Go to the message box"),
    "shortcut_continue": _("Continue the last answer"),
    "shortcut_help": _("Show this list"),
    "shortcut_new": _("New chat"),
    "shortcut_next": _("Next version of the focused message"),
    "shortcut_previous": _("Previous version of the focused message"),
    "shortcut_regenerate": _("Regenerate the last answer"),
    "shortcut_search": _("Search"),
    "shortcut_sidebar": _("Show or hide the sidebar"),
    "shortcut_stop": _("Stop the answer"),
    "shortcuts": _("Keyboard shortcuts"),
    "sign_in": _("Sign in"),
    "sign_in_again": _("Please sign in again. Your text is kept."),
    "signed_in": _("I have signed in"),
    "state_thinking": _("Thinking {seconds} s"),
    "state_queued": _("Waiting for its turn"),
    "state_retries": _("Trying again"),
    "state_retrying": _("Trying again in {seconds} s"),
    "state_waiting": _("Still waiting for the model ({seconds} s)"),
    "stop": _("Stop"),
    "stop_all": _("Stop all"),
    "stop_failed": _("Couldn't reach the server; the answer goes on there."),
    "stopping": _("Stopping…"),
    "switch_failed": _("Couldn't switch. You are where you were."),
    "undo": _("Undo"),
    "word_complete": _("done"),
    "word_failed": _("failed"),
    "word_interrupted": _("interrupted"),
    "word_stopped": _("stopped"),
    "word_writing": _("writing"),
    "state_begins": _("Thinking"),
}


@register.simple_tag
def page_words() -> SafeString | str:
    """Print the sentences as JSON, where they are not the English ones that scripts have already."""
    if (get_language() or "en").startswith("en"):
        return ""
    return json_script({name: str(words) for name, words in WORDS.items()}, "words")
