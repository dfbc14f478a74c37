"""manage.py topics apply|diff"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.config import config
from outbox.kafka import BrokerError, Cluster
from outbox.topology import apply, differences


class Command(BaseCommand):
    help = "Create the declared Kafka topics (apply), or report how the cluster differs from them (diff)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["apply", "diff"])
        parser.add_argument(
            "--raise-partitions",
            action="store_true",
            help="with apply: have keys spread over as many partitions as are declared, which moves keys",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster, topics = Cluster(config().kafka), config().declared_topics()
        applying, using = options["action"] == "apply", options["database"]
        more = options["raise_partitions"]
        if more and not applying:
            raise CommandError("--raise-partitions goes with apply.")
        try:
            found = (
                apply(topics, cluster=cluster, raise_partitions=more, using=using)
                if applying
                else list(differences(topics, cluster=cluster, using=using))
            )
        except BrokerError as error:
            raise CommandError(f"Kafka at {config().kafka['bootstrap.servers']}: {error}") from error
        for difference in found:
            done = f" → {difference.repair}" if difference.repair and applying else ""
            self.stdout.write(f"{difference.name}: {difference.what}{done}")
        left = [one for one in found if not applying or one.repair is None]
        if left:
            raise CommandError(f"{len(left)} of the differences remain.", returncode=1)
        self.stdout.write(self.style.SUCCESS(f"{len(topics)} topics are as declared."))
