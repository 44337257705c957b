"""Ending answers without a runner, for tests of what surrounds them."""

from apps.conversations.services import generations, leases


def end_all(text="An answer."):
    """Let every active generation end well, as a runner would."""
    for generation in leases.claim(owner="test:1:a", limit=50):
        lease = generations.Lease(generation.pk, "test:1:a", generation.attempt)
        if generation.message_id is None:
            leases.finish_title(lease, state="completed")
        else:
            parts = [{"type": "text", "text": text}]
            ids = (generation.message_id, generation.conversation_id)
            leases.finish(generations.Ending(lease, *ids, "completed", parts, "stop"))
