"""One process that draws for all environments: the same numbers, and the same frames but rounding.

The workers' own drawing is held in test_vector.py.
"""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from tests.envs.test_vector import (
  CHANNELS,
  NUM_ENVS,
  OPTIONS,
  SEED,
  SIZE,
  _die,
  _hang,
  actions,
)
from vipjax.envs import Channel, FrameVectorEnv
from vipjax.runtime import gl
from vipjax.runtime.errors import UserError
from vipjax.scene import View

STEPS = 6  # over the end of episodes of 4


def opened(drawing="one_process", num_workers=2, channels=CHANNELS):
  return FrameVectorEnv(OPTIONS, NUM_ENVS, channels, SIZE, num_workers, drawing)


@pytest.fixture(scope="module")
def env():
  with opened() as env:
    yield env


def played(env, faults=()):
  """All that some steps give, with a fault before some of them, and then where they end."""
  first = env.reset(SEED)
  given = [(first[0], *first[1])]
  for number, action in enumerate(actions(STEPS)):
    for at, fault, pool in faults:
      if at == number:
        fault(pool.processes[0])
    given.append(env.step(action))
  return given


def assert_same(one, other):
  for mine, theirs in zip(one, other, strict=True):
    for a, b in zip(mine, theirs, strict=True):
      np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def expected(env):
  return played(env)


def test_it_gives_what_workers_that_draw_give(expected):
  with opened("workers", num_workers=0) as drawing:
    reference = played(drawing)
  ends = [step.truncated.all() for step in reference[1:]]
  assert ends == [False, False, False, True, False, False]
  for mine, theirs in zip(expected, reference, strict=True):
    for a, b in zip(mine, theirs, strict=True):
      if a.dtype != np.uint8:
        np.testing.assert_array_equal(a, b)
        continue
      levels = np.abs(a.astype(int) - b)
      assert levels.mean() < 0.05 and (levels > 1).mean() < 0.01
  # Before an automatic reset and after it frames differ; without one they are one array.
  last = expected[4]
  assert (last.frames != last.reset_frames).any(axis=(2, 3, 4)).all()
  assert expected[5].frames is expected[5].reset_frames


def test_a_lost_drawer_or_worker_is_replaced_and_nothing_changes(
  env, expected, monkeypatch, caplog
):
  monkeypatch.setattr("vipjax.envs.vector._STEP_SECONDS", 2.0)
  drawer, workers = env._drawer, env._pool
  assert (len(drawer.processes), len(workers.processes)) == (1, 2)
  faults = [(0, _die, drawer), (3, _die, workers), (3, _hang, drawer)]
  assert_same(played(env, faults), expected)
  assert len(caplog.records) == 3


def test_it_goes_on_from_where_it_was_left(env, expected):
  env.reset(SEED)
  for action in actions(2):
    env.step(action)
  episodes = env.episodes()
  env.step(actions(3)[2], draw=False)
  observation, seen = env.restore(episodes)
  assert_same([(observation, *seen)], [(expected[2].reset_observation, *expected[2].reset_seen)])
  assert_same([env.step(actions(3)[2])], [expected[3]])


def test_without_workers_this_process_draws(expected):
  before = multiprocessing.active_children()
  with opened(num_workers=0) as here:
    assert_same(played(here), expected)
    assert multiprocessing.active_children() == before


@pytest.mark.parametrize(
  ("on_gpu", "drawing", "channels", "drawer"),
  [
    (True, "auto", CHANNELS, True),
    (False, "auto", CHANNELS, False),
    (True, "workers", CHANNELS, False),
    (True, "auto", (), False),  # there is nothing to draw
  ],
)
def test_who_draws(monkeypatch, on_gpu, drawing, channels, drawer):
  monkeypatch.setattr(gl, "draws_on_gpu", lambda: on_gpu)
  with opened(drawing, 0, channels) as env:
    assert (env._drawer is not None) == drawer


def test_another_word_for_drawing():
  with pytest.raises(UserError, match="expected drawing among auto, .*one_process, got 'gpu'"):
    opened("gpu")


def test_what_the_drawer_refuses_is_the_users_error(capfd):
  with opened(num_workers=1, channels=[Channel(View(camera="corner9"))]) as env:
    for _ in range(2):
      with pytest.raises(UserError, match="expected a camera of the scene .*got 'corner9'"):
        env.reset(0)
  assert "Traceback" not in capfd.readouterr().err


def test_closing_in_the_middle_of_a_step(capfd):
  env = opened(num_workers=1)
  env.reset(0)
  processes = [*env._pool.processes, *env._drawer.processes]
  env.step_async(np.zeros((NUM_ENVS, 8)))
  env.close()
  env.close()
  assert [process.exitcode for process in processes] == [0, 0]
  assert capfd.readouterr().err == ""
