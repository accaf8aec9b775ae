"""Which inputs a limit keeps."""
import pytest

from minixl.data.limits import RANDOM, kept_by_limit, settings_of_text
from tests.whole_runs import settings


@pytest.mark.parametrize("sample", ["first", "random"])
@pytest.mark.parametrize("count", [0, 10, 11])
def test_a_limit_that_keeps_all(count, sample):
    assert kept_by_limit(10, count, sample) == list(range(10))


def test_the_first_or_a_draw_by_the_seed_alone():
    assert kept_by_limit(100, 4) == [0, 1, 2, 3]
    draws = [kept_by_limit(100, 4, RANDOM, seed) for seed in range(5)]
    assert all(len(set(draw)) == 4 and draw == sorted(draw) for draw in draws)
    assert draws == [kept_by_limit(100, 4, RANDOM, seed) for seed in range(5)] and len({tuple(draw) for draw in draws}) == 5
    assert {i for seed in range(100) for i in kept_by_limit(10, 3, RANDOM, seed)} == set(range(10))       # from the whole text


def test_settings_that_decide_what_is_read():
    assert settings_of_text(settings(data__text_column="body"), "data.limit") == ["data.limit", "data.text_column"]
    for changes, more in (({}, False), ({"data__limit": 3}, False), ({"data__sample": "random"}, False),
                          ({"data__limit": 3, "data__sample": "random"}, True)):
        assert settings_of_text(settings(**changes), "data.limit") == ["data.limit", *["data.sample", "data.sample_seed"] * more]
