"""A process that writes answers, as it last told of itself."""

from __future__ import annotations

from django.db import models


class RunnerProcess(models.Model):
    # The owner of its leases.
    name = models.CharField(primary_key=True, max_length=60)
    started_at = models.DateTimeField()
    # By the database's clock, as leases are.
    seen_at = models.DateTimeField()
    concurrency = models.PositiveIntegerField()
    # Answers and titles in hand.
    active = models.PositiveIntegerField(default=0)
    # It takes nothing new and is about to end.
    draining = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"runner {self.name}"
