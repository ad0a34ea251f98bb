"""The prefix cache."""

from launchers.simulation.cache import BLOCK, PrefixCache

IDS = list(range(3 * BLOCK))


def test_whole_blocks_of_a_known_prefix_are_cached() -> None:
    cache = PrefixCache()
    cache.add(IDS[: BLOCK + 3])
    assert cache.cached(IDS) == BLOCK


def test_nothing_is_cached_behind_a_difference() -> None:
    cache = PrefixCache()
    cache.add(IDS)
    assert cache.cached([-1, *IDS[1:]]) == 0


def test_the_last_token_of_a_prompt_is_never_cached() -> None:
    cache = PrefixCache()
    cache.add(IDS)
    assert cache.cached(IDS) == 2 * BLOCK


def test_prompts_with_different_salts_share_nothing() -> None:
    cache = PrefixCache()
    cache.add(IDS, "one")
    assert (cache.cached(IDS, "one"), cache.cached(IDS, "other")) == (2 * BLOCK, 0)


def test_the_block_that_was_not_used_for_longest_is_forgotten() -> None:
    cache = PrefixCache(most=2)
    first, second = IDS[:BLOCK], IDS[BLOCK : 2 * BLOCK]
    for ids in (first, second, first, IDS[2 * BLOCK :]):
        cache.add(ids)
    assert [cache.cached([*ids, 0]) for ids in (first, second)] == [BLOCK, 0]
