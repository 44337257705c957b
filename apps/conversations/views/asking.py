"""Asking for another answer to the same message: by the model of an answer there is, or by others beside it."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from apps.conversations import presenters
from apps.conversations.forms import Choice
from apps.conversations.services import batches, messages, overview
from apps.conversations.views import frame, pages
from apps.core.http import render_page
from apps.models.services import catalogue


@require_POST
@frame.keeps_page
def message_regenerate(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Begin another answer beside this one, or several; what stood side by side goes on to."""
    user = request.user
    _conversation, message, _generation = overview.read_message(
        user=user, conversation_id=conversation_id, message_id=message_id
    )
    stands_beside = bool(batches.on_path([message]))
    choice = Choice.read(request.POST)
    sent = messages.regenerate(user=user, conversation_id=conversation_id, message_id=message_id, **choice.as_words())
    compare = message.parent_id if stands_beside else None
    return pages.show_path(request, conversation_id, sent.answers[0].pk, compare=compare)


@require_safe
@frame.keeps_page
def message_ask(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Ask which models are to answer beside this one."""
    conversation, message, _generation = overview.read_message(
        user=request.user, conversation_id=conversation_id, message_id=message_id
    )
    models = catalogue.available()
    view = presenters.present_message(message, names=frame.model_names())
    others = [model.model_id for model in models if model.model_id != view.model]
    context = frame.page_context(
        request, m=view, models=presenters.group_models(models), model=next(iter(others), view.model)
    )
    context["current"] = conversation.pk
    return render_page(request, "conversations/ask.html", context, part="form")
