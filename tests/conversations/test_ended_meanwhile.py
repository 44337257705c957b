"""Pages asked for at the moment an answer ends, or that end it themselves as nobody writes it any more."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.conversations.models import Generation
from apps.conversations.services import leases, messages

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def dead(user):
    """An answer that was shown, and whose runner has been gone for an hour."""
    sent = messages.send(user=user, conversation_id=None, content="Hi")
    (generation,) = leases.claim(owner="gone:1:x", limit=1)
    lease = leases.Lease(generation.pk, "gone:1:x", 1)
    leases.keep([leases.Progress(lease, sent.answers[0].pk, [{"type": "text", "text": "So far"}], True)])
    Generation.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    return sent


def page(client, name, sent, *more, **options):
    url = reverse(f"conversations:{name}", args=[sent.conversation.pk, *more])
    return client.get(options.pop("url", url), **options)


@pytest.mark.parametrize("door", ["detail", "message", "live"])
def test_who_looks_at_a_dead_answer_is_shown_its_end_and_not_what_it_was_before(signed_in, dead, door):
    message = dead.answers[0].pk
    if door == "message":
        response = page(signed_in, door, dead, message, headers=HTMX)
    else:
        response = page(signed_in, door, dead, data={"m": message}, headers=HTMX if door == "live" else {})
    html = response.content.decode()
    assert response.status_code == (286 if door == "live" else 200)
    assert f'data-message="{message}" data-role="assistant" data-status="interrupted"' in html
    assert "So far" in html
    assert f"{message}/continue/" in html
    assert "data-live=" not in html.split(f'id="m-{message}"')[1].split(">")[0]
