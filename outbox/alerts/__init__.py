"""What is wrong with the whole system now, since when, and telling people when that changes.

    causes.py    the kinds of alarms, and what to do about each
    checks.py    looks at the tables, and says what is wrong in a sentence with figures
    checking.py  keeps an alarm for each, and writes a notice down when one begins, lasts or ends
    sending.py   sends the notices by each channel (webhook.py, mail.py), in order, until it has them
    silencing.py an operator's "I know": no notices about an alarm for some hours

Checks run every ten seconds beside the samples of lag (outbox/sampling.py), by whoever comes first. Notices
are sent by the task `outbox.send_alerts`, or by `manage.py alerts --send`. See docs/operations.md, "Alerts".
"""
