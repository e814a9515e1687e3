import pytest

from vipjax.envs import Stream, episode_seed
from vipjax.runtime.errors import UserError


def test_seeds_are_fixed_numbers():
  # A run is repeatable only while these stay as they are.
  assert episode_seed(Stream.RECORDED, 0) == episode_seed(Stream.RECORDED, 0, 0)
  assert [episode_seed(stream, 3, 7) for stream in (Stream.RECORDED, Stream.FINAL)] == [
    58337194207486,
    245712631433312,
  ]


def test_streams_and_runs_keep_apart():
  window = 4096  # a vector environment counts on from its first seed
  seeds = sorted(
    episode_seed(stream, run, number)
    for stream in Stream for run in range(40) for number in range(10)
  )  # fmt: skip
  assert min(b - a for a, b in zip(seeds, seeds[1:], strict=False)) > window
  assert seeds[-1] < 2**48


def test_negative_run_seed():
  with pytest.raises(UserError, match="config.seed of at least 0, got -1"):
    episode_seed(Stream.UNSEEN, -1)
