"""How Django writes times where nothing else is asked for."""

DATETIME_FORMAT = "Y-m-d H:i:s"
