"""A real PostgreSQL 18 and a real Apache Kafka on this machine, from Python packages and jars alone.

`make demo` and the tests start the same code. It knows nothing of the project beside it.
"""
