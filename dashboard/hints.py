"""Terms of the field in two plain sentences each: what a newcomer reads behind a "?"."""

HINTS = {
    "command": (
        "Asks one service to do something: it is not done yet, and may be refused. Drawn with a solid line."
    ),
    "event": (
        "A fact that has happened and is never changed; services that hear of it react on their own. Drawn "
        "with a dashed line."
    ),
    "payments": (
        "The service that takes payments. It changes its own row and writes an event about it in one "
        "database transaction, and calls nobody."
    ),
    "outbox": (
        "A table of events, written in the same transaction as the change they tell of: neither can exist "
        "without the other. Waiting are those not yet sent to Kafka; one that waits for longer than 5 s is "
        "stuck."
    ),
    "relay": (
        "The worker that reads the outbox and sends each event to Kafka, those of one key in order. When it "
        "stops, events wait in the outbox and none is lost."
    ),
    "kafka": (
        "A log of records, split into topics and partitions, that every service reads at its own pace. "
        "Records with one key stay in order, in one partition."
    ),
    "consumer": (
        "A service that reads events and acts on each exactly once. Lag is how many it has yet to read; sync "
        "delay is the time from an event's happening to its effect here, the usual one of late or the age of "
        "the oldest that waits, whichever is more: it should stay below the limit."
    ),
    "timeline": (
        "What happened to this payment, from left to right, with a lane for each service. A line leaves an "
        "event through the lanes of the services that hear of it; a mark shows what each made of it."
    ),
    "expiry": (
        "A payment that nobody validates in time is rejected by itself. From this moment on it cannot be "
        "validated any more."
    ),
    "points": (
        "What the payment earned the customer, less what a refund has taken back. Loyalty keeps them in a "
        "ledger that is only ever added to."
    ),
    "volumes": (
        "Counted from events alone, each in the slot in which it happened, however late it came. A payment "
        "counts once in every status that it came to, so statuses and currencies are never added up."
    ),
    "key": (
        "What the event is about: a payment, an order, an account. Events with one key are processed in the "
        "order in which they were written."
    ),
    "place": (
        "The topic, the partition and the offset of the event's record. An offset is the record's number in "
        "its partition, from 0."
    ),
    "story": (
        "Events that began with one request share a correlation id, and each names the one it followed from. "
        "Nobody planned this tree: every service reacted on its own."
    ),
    "outbox-row": (
        "The event as it was written, in the transaction of its change. The row is never edited; a "
        "correction would be another event."
    ),
    "alarm": (
        "Somebody looks every ten seconds: a consumer beside its work, or a periodic task. What is wrong "
        "becomes an alarm, which ends by itself when its cause is gone."
    ),
    "headers": (
        "What travels beside the data in Kafka, as CloudEvents defines it. They tell a reader the type, the "
        "order within the key and the origin before it opens the data."
    ),
    "dead-letter": (
        "An event that a consumer could not process, kept with its cause: nothing is lost. It waits until "
        "somebody replays it, corrects it for this consumer, or discards it for a reason."
    ),
    "parked-key": (
        "A key with a dead letter or a gap: its later events wait in order behind it. All other keys flow on."
    ),
    "gap": (
        "A later event of the key has come before an earlier one, so the key waits for it. It goes on by "
        "itself when that one arrives; releasing it gives the missing one up."
    ),
    "correction": (
        "Data that this consumer is given in the place of the event's own, which stays as it came: events "
        "are facts and are never edited. Other consumers do not see it."
    ),
    "dry-run": (
        "Does all of it, a letter in one transaction, and takes it back: it says what would come of a "
        "replay. Nothing is kept, and nothing is written down."
    ),
    "lag": (
        "How many records its topics have that this consumer has not moved past. Each partition has an end "
        "and a place that the consumer has reached; the lag is what lies between."
    ),
    "sync-delay": (
        "From the moment an event happened to its effect being committed here. How long the oldest event has "
        "waited is the delay that it will have at least; each consumer declares a limit for it."
    ),
    "projection": (
        "A consumer whose whole effect is rows that can be built again from its events. It publishes "
        "nothing, so that reading everything once more does no harm."
    ),
    "generation": (
        "One building of a projection. A new one reads from the beginning beside the live one, which is "
        "shown until the new one has caught up and takes its place in one transaction."
    ),
    "instance": (
        "A process of this consumer. Kafka divides the partitions among its instances; one that is left "
        "without is idle, and takes over when another one ends. One that has said nothing for three "
        "seconds is silent: it may be gone, and Kafka soon gives its partitions to others."
    ),
    "seek": (
        "Has a consumer read on from another moment. What it has processed already is dropped when it comes "
        "again; what is skipped is written down as discarded and leaves no gap."
    ),
    "watermarks": (
        "The offsets of the first record that a partition still has and of the one that comes next. What "
        "lies between is kept; what was before has been deleted by retention."
    ),
    "retention": (
        "How long Kafka keeps a record. A consumer that stays away for longer misses what was deleted "
        "meanwhile; a topic that is kept for ever can always be read from the beginning."
    ),
    "drift": (
        "Where Kafka, or the recorded number of partitions, is not as the code declares. Nothing is changed "
        "by itself: a command does it, or a person decides."
    ),
    "chaos": (
        "Stop ends a part in order, kill ends it as a crash would, and freeze holds it still without its "
        "knowing: the hardest of the three, for a frozen process goes on later as if nothing had happened."
    ),
    "poison": (
        "An event that a consumer cannot process however often it tries. It is set aside as a dead letter; "
        "later events with its key wait in order behind it, and all other keys go on."
    ),
    "written": (
        "When the event was written to the outbox, as its id says: by this it is looked for. The fact itself "
        "may be older; its event's page says both."
    ),
    "waits": (
        "Where the event's time went: in the outbox until a relay sent it, on its way until Kafka had it, in "
        "Kafka until the service read it, in the service until its effect stood; what it waited there behind "
        "another event counts as the service's. The whole is the sync delay, which should stay below the "
        "service's limit."
    ),
}
