"""Where keys go: as Java clients compute it, and spread over the shards."""

from collections import Counter

import pytest

from outbox.keys import SHARDS, murmur2, partition_of, shard_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # org.apache.kafka.common.utils.UtilsTest.testMurmur2, signed 32-bit
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(text: str, expected: int) -> None:
    assert murmur2(text.encode()) == expected % 2**32


def test_keys_spread_over_every_shard_and_over_every_partition_of_a_shard() -> None:
    keys = [f"key-{number}" for number in range(4_000)]
    assert set(Counter(map(shard_of, keys))) == set(range(SHARDS))
    pairs = Counter((shard_of(key), partition_of(key, 4)) for key in keys)
    assert len(pairs) == SHARDS * 4
    assert min(pairs.values()) > 60
