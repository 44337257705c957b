"""What a person does with messages: send, stop, edit, continue, choose, delete, fork, mark. Asking anew is `asking`."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from apps.conversations import presenters
from apps.conversations.forms import EditForm, SendForm
from apps.conversations.models import Role
from apps.conversations.services import (
    answers,
    branches,
    conversations,
    forks,
    generations,
    messages,
    overview,
    paths,
    retrying,
)
from apps.conversations.views import frame, pages
from apps.core.db import DATABASE_AWAY
from apps.core.errors import DomainError, NotFound
from apps.core.http import error_response, is_htmx, render_page, say_when, unavailable

GET_AND_POST = ["GET", "HEAD", "POST"]


@require_POST
def send(request: frame.SignedInRequest, conversation_id: str | None = None) -> HttpResponse:
    """Send a message, into a new conversation where none is named; an error gives the text back."""
    form = SendForm.read(request.POST)
    try:
        sent = messages.send(
            user=request.user,
            conversation_id=conversation_id,
            content=form.content,
            parent_id=form.parent_id,
            client_id=form.client_id,
            **form.choice.as_words(),
        )
    except DomainError as error:
        return _refused(request, conversation_id, form, error)
    except DATABASE_AWAY as error:
        # Where it still reads, the page has the text; where it doesn't, the page for 503 has.
        return _refused(request, conversation_id, form, unavailable(error))
    return _sent(request, sent, is_new=conversation_id is None, moved_on=sent.branched and not sent.replayed)


@require_POST
@frame.keeps_page
def stop(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Stop what is being written; the text so far is kept."""
    generation = request.POST.get("generation") or None
    generations.stop(user=request.user, conversation_id=conversation_id, generation_id=generation)
    if is_htmx(request):
        return HttpResponse(status=204)
    return frame.see_other(reverse("conversations:detail", args=[conversation_id]))


@require_http_methods(GET_AND_POST)
@frame.keeps_page
def message_edit(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Show the editor; store the text as a new version (`branch`) or in the same place (`save`)."""
    if request.method != "POST":
        return _editor(request, conversation_id, message_id)
    form = EditForm.read(request.POST)
    try:
        outcome = messages.edit(
            user=request.user,
            conversation_id=conversation_id,
            message_id=message_id,
            content=form.content,
            mode=form.mode,
            **form.choice.as_words(),
        )
    except NotFound:
        raise
    except DomainError as error:
        return _editor(request, conversation_id, message_id, content=form.content, error=error)
    if isinstance(outcome, answers.Sent):
        return pages.show_path(request, conversation_id, (outcome.user_message or outcome.answers[0]).pk)
    return _article(request, conversation_id, message_id)


@require_POST
@frame.keeps_page
def message_continue(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Go on writing in the same answer."""
    messages.continue_answer(user=request.user, conversation_id=conversation_id, message_id=message_id)
    return _article(request, conversation_id, message_id)


@require_POST
@frame.keeps_page
def message_retry(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Try an answer again of which nothing came, in its place."""
    retrying.retry(user=request.user, conversation_id=conversation_id, message_id=message_id)
    return _article(request, conversation_id, message_id)


@require_POST
@frame.keeps_page
def message_select(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Go to the path through this message."""
    branches.select(user=request.user, conversation_id=conversation_id, message_id=message_id)
    return pages.show_path(request, conversation_id, message_id)


@require_http_methods(GET_AND_POST)
@frame.keeps_page
def message_delete(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Say what would go, then delete it; the next page offers to undo."""
    if request.method != "POST":
        return _confirm(request, conversation_id, message_id)
    deleted = branches.delete_message(user=request.user, conversation_id=conversation_id, message_id=message_id)
    words = ngettext("%(count)d message deleted.", "%(count)d messages deleted.", deleted.count)
    undo = reverse("conversations:message_restore", args=[conversation_id, message_id])
    frame.notice(request, words % {"count": deleted.count}, undo=undo)
    return pages.show_path(request, conversation_id, deleted.leaf.pk if deleted.leaf else None)


@require_POST
@frame.keeps_page
def message_restore(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Undo a deletion."""
    branches.restore_message(user=request.user, conversation_id=conversation_id, message_id=message_id)
    return pages.show_path(request, conversation_id, message_id)


@require_POST
@frame.keeps_page
def message_favourite(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Mark a message, or take the mark away with `favourite=0`."""
    favourite = request.POST.get("favourite", "1") != "0"
    messages.set_favourite(
        user=request.user, conversation_id=conversation_id, message_id=message_id, favourite=favourite
    )
    return _article(request, conversation_id, message_id)


@require_POST
@frame.keeps_page
def message_fork(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Copy the path up to here into a new conversation; a fork at a user's message is answered at once."""
    fork = forks.fork_and_answer(user=request.user, conversation_id=conversation_id, message_id=message_id)
    target = reverse("conversations:detail", args=[fork.pk])
    if is_htmx(request):
        response = HttpResponse(status=204)
        response["HX-Redirect"] = target
        return response
    return frame.see_other(target)


# --- answers ----------------------------------------------------------------------------------------------------


def _sent(request: frame.SignedInRequest, sent: answers.Sent, *, is_new: bool, moved_on: bool) -> HttpResponse:
    """Answer a send: the turn for scripts, else 303 to it. `moved_on`: it began a branch nobody asked for here."""
    conversation = sent.conversation
    target = reverse("conversations:detail", args=[conversation.pk])
    words = _("The conversation went on elsewhere, so this is a new branch.") if moved_on else ""
    if not is_htmx(request):
        if words:
            frame.notice(request, words)
        return frame.see_other(f"{target}#m-{sent.user_message.pk if sent.user_message else ''}")
    shown = [message for message in (sent.user_message, *sent.answers) if message is not None]
    paths.attach_siblings(shown)
    turns = presenters.present_turns(
        [message for message in shown if message not in sent.answers[1:]],
        generations=sent.generations,
        names=frame.model_names(),
        beside={sent.answers[0].pk: sent.answers} if len(sent.answers) > 1 else {},
    )
    response = render_page(request, "conversations/_sent.html", {"turns": turns, "notice": words})
    response["X-Bough-Conversation"] = str(conversation.pk)
    if is_new:
        response["HX-Push-Url"] = target
    return response


def _refused(
    request: frame.SignedInRequest, conversation_id: str | None, form: SendForm, error: DomainError
) -> HttpResponse:
    """Answer a send that was refused: an error for scripts, which kept the text; else the page with the text in it."""
    if is_htmx(request):
        return error_response(request, error)
    if conversation_id is None:
        page = pages.start_page(
            request, content=form.content, further=form.choice.further, error=error.text, status=error.status
        )
        return say_when(page, error)
    # Raises NotFound again where there is nothing to show the text on.
    conversation = conversations.get(user=request.user, conversation_id=conversation_id)
    path = paths.path_page(conversation=conversation)
    page = pages.conversation_page(
        request,
        conversation,
        path,
        content=form.content,
        further=form.choice.further,
        error=error.text,
        status=error.status,
    )
    return say_when(page, error)


def _article(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Answer with one message as it is now."""
    if not is_htmx(request):
        return pages.show_path(request, conversation_id, message_id)
    found = overview.read_message(user=request.user, conversation_id=conversation_id, message_id=message_id)
    return pages.article(request, *found)


def _editor(
    request: frame.SignedInRequest,
    conversation_id: str,
    message_id: str,
    *,
    content: str | None = None,
    error: DomainError | None = None,
) -> HttpResponse:
    """Show the editor; with an error, in the place of the message and with what was typed."""
    conversation, found, _generation = overview.read_message(
        user=request.user, conversation_id=conversation_id, message_id=message_id
    )
    context = frame.page_context(
        request,
        m=presenters.present_message(found, names=frame.model_names(), is_writable=not conversation.is_archived),
        content=found.text if content is None else content,
        composer=frame.present_composer(conversation),
        error=error.text if error else "",
    )
    context["current"] = conversation.pk
    status = error.status if error else 200
    response = render_page(request, "conversations/edit.html", context, part="editor", status=status)
    if error:
        response["HX-Retarget"], response["HX-Reswap"] = f"#m-{found.pk}", "outerHTML"
    return response


def _confirm(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Ask before deleting, with the number of messages that would go."""
    user = request.user
    counted = overview.count_below(user=user, conversation_id=conversation_id, message_id=message_id)
    conversation, found, _generation = overview.read_message(
        user=user, conversation_id=conversation_id, message_id=message_id
    )
    context = frame.page_context(
        request,
        m=presenters.present_message(found, names=frame.model_names()),
        counted=counted,
        below=counted.total - 1,
        is_user=found.role == Role.USER,
    )
    context["current"] = conversation.pk
    return render_page(request, "conversations/delete_message.html", context, part="confirm")
