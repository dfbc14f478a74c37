"""Where a key goes: its shard among relays and its partition in Kafka."""

from functools import lru_cache
from struct import Struct

SHARDS = 8
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_WORDS = Struct("<I")


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit hash of a key, as Java clients and Debezium compute it.

    Source: org.apache.kafka.common.utils.Utils.murmur2; the seed is Kafka's. Returns an unsigned integer.
    """
    length = len(data)
    value = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        word = word * _M & _MASK
        value = (value * _M & _MASK) ^ ((word ^ (word >> 24)) * _M & _MASK)
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    value = (value ^ (value >> 13)) * _M & _MASK
    return value ^ (value >> 15)


@lru_cache(maxsize=65_536)
def hash_of(key: str) -> int:
    """The key's hash as Kafka's default partitioner uses it: 31 bits."""
    return murmur2(key.encode()) & 0x7FFFFFFF


def shard_of(key: str) -> int:
    """The key's share among relays. The high bits, so that shards are spread over all partitions."""
    return (hash_of(key) >> 16) % SHARDS


def partition_of(key: str, partitions: int) -> int:
    """The partition Kafka's default partitioner gives this key."""
    return hash_of(key) % partitions
