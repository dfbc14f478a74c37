"""What the REST layer keeps."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

LONGEST_KEY = 255


class KeptAnswer(models.Model):
    """The answer that a command was given under an Idempotency-Key.

    Written in the transaction of the command: there is one if and only if the command was carried out or
    refused for good. `answer_status` is null only inside that transaction, while the command runs.
    """

    pk = models.CompositePrimaryKey("user_id", "key")
    user_id = models.UUIDField()
    key = models.CharField(max_length=LONGEST_KEY)
    asked = models.BinaryField(help_text="SHA-256 of method, path and canonical body")
    asked_at = models.DateTimeField(db_default=Now())
    answer_status = models.SmallIntegerField(null=True)
    answer_headers = models.JSONField(default=dict, db_default={})
    answer_body = models.TextField(default="", db_default="")

    class Meta:
        db_table = "rest_kept_answer"
        indexes = [models.Index("asked_at", name="rest_kept_answer_asked_at_idx")]
        constraints = [
            models.CheckConstraint(
                name="rest_kept_answer_is_final",
                condition=Q(answer_status__isnull=True) | Q(answer_status__range=(200, 499)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.answer_status}"


class SpentBudget(models.Model):
    """When a budget will be full again; without a row it is (`rest.throttling`). Unlogged: see 0002."""

    spender = models.TextField(primary_key=True)
    full_at = models.DateTimeField()

    class Meta:
        db_table = "rest_budget"

    def __str__(self) -> str:
        return f"{self.spender} until {self.full_at}"
