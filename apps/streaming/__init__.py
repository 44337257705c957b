"""Live text: answers in the making, the bus that carries them, the hub that shows them.

Knows nothing of the ORM, of HTTP and of conversations.
"""
