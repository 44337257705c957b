"""Pages that are the first to find a dead runner's answer: they end it, and show its end and not what was there before."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.conversations.models import Generation, Message
from apps.conversations.services import leases, messages


@pytest.fixture
def dead(user):
    """An answer with some text, whose runner is gone and whose lease has run out."""
    sent = messages.send(user=user, conversation_id=None, content="Trees?", model="scripted/model")
    [generation] = leases.claim(owner="elsewhere:1:a", limit=1)
    past = timezone.now() - timedelta(hours=1)
    Generation.objects.filter(pk=generation.pk).update(lease_until=past, first_delta_at=past)
    Message.objects.filter(pk=sent.answers[0].pk).update(parts=[{"type": "text", "text": "Oaks and"}])
    return sent.answers[0]


def test_the_poll_that_ends_it_says_that_it_is_interrupted(signed_in, dead):
    url = reverse("conversations:live", args=[dead.conversation_id])
    response = signed_in.get(url, {"m": dead.pk}, headers={"HX-Request": "true"})
    assert response.status_code == 286
    assert 'data-status="interrupted"' in response.text
    assert "Oaks and" in response.text


def test_the_page_that_ends_it_shows_it_as_interrupted(signed_in, dead):
    page = signed_in.get(reverse("conversations:detail", args=[dead.conversation_id])).text
    assert 'data-status="interrupted"' in page
    assert 'data-status="streaming"' not in page
    assert "Oaks and" in page


def test_the_article_that_ends_it_shows_it_as_interrupted(signed_in, dead):
    url = reverse("conversations:message", args=[dead.conversation_id, dead.pk])
    article = signed_in.get(url, headers={"HX-Request": "true"}).text
    assert 'data-status="interrupted"' in article
