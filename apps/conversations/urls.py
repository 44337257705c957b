"""Addresses of the pages; every one answers without a script."""

from django.urls import path

from apps.conversations.views import asking, conversations, lists, messages, pages

app_name = "conversations"
CONVERSATION = "c/<str:conversation_id>/"
MESSAGE = f"{CONVERSATION}m/<str:message_id>/"

urlpatterns = [
    path("", pages.home, name="home"),
    path("send/", messages.send, name="send_new"),
    path("archive/", lists.archive_list, name="archive_list"),
    path("sidebar/", lists.sidebar, name="sidebar"),
    path("sidebar/row/<str:conversation_id>/", lists.row, name="row"),
    path(CONVERSATION, pages.detail, name="detail"),
    path(f"{CONVERSATION}messages/", pages.older, name="older"),
    path(f"{CONVERSATION}live/", pages.live, name="live"),
    path(f"{CONVERSATION}send/", messages.send, name="send"),
    path(f"{CONVERSATION}stop/", messages.stop, name="stop"),
    path(f"{CONVERSATION}rename/", conversations.rename, name="rename"),
    path(f"{CONVERSATION}pin/", conversations.pin, name="pin"),
    path(f"{CONVERSATION}archive/", conversations.archive, name="archive"),
    path(f"{CONVERSATION}unarchive/", conversations.unarchive, name="unarchive"),
    path(f"{CONVERSATION}delete/", conversations.delete, name="delete"),
    path(f"{CONVERSATION}restore/", conversations.restore, name="restore"),
    path(f"{CONVERSATION}model/", conversations.model, name="model"),
    path(f"{CONVERSATION}seen/", conversations.seen, name="seen"),
    path(MESSAGE, pages.message, name="message"),
    path(f"{MESSAGE}regenerate/", asking.message_regenerate, name="message_regenerate"),
    path(f"{MESSAGE}ask/", asking.message_ask, name="message_ask"),
    path(f"{MESSAGE}edit/", messages.message_edit, name="message_edit"),
    path(f"{MESSAGE}continue/", messages.message_continue, name="message_continue"),
    path(f"{MESSAGE}retry/", messages.message_retry, name="message_retry"),
    path(f"{MESSAGE}select/", messages.message_select, name="message_select"),
    path(f"{MESSAGE}delete/", messages.message_delete, name="message_delete"),
    path(f"{MESSAGE}restore/", messages.message_restore, name="message_restore"),
    path(f"{MESSAGE}favourite/", messages.message_favourite, name="message_favourite"),
    path(f"{MESSAGE}fork/", messages.message_fork, name="message_fork"),
]
