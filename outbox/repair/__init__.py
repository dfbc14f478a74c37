"""What an operator does about events that consumers could not process.

    letters   one dead letter: replay it, corrected if need be, or discard it
    keys      a parked key: release it
    matching  all that match: replay, discard
    again     events of the outbox once more: to Kafka, or to one consumer

Whatever is done is done once, however often it is asked for and by however many at the same time, in the
consumer's own transactions, and leaves an Act.
"""
