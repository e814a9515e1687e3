"""Pictures in tiles of one buffer are those that are drawn alone, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.runtime.errors import UserError
from vipjax.scene import View
from vipjax.scene.tiles import TileRenderer, state_size, state_vector

SIZE = 32
# A free camera, one that is mounted upside down and one that is not; with and without the robot.
PICTURES = [(View(), True), (View(camera="corner"), False), (View(camera="topview"), True)]


def played(env):
  """States of three episodes, each with another placement, and their pictures drawn alone."""
  rng, states, alone = np.random.default_rng(0), [], []
  for seed in range(3):
    env.reset(seed=seed)
    for _ in range(3):
      env.step(rng.uniform(-1, 1, 8))
    states.append(np.empty(state_size(env.model)))
    state_vector(env.model, env.data, states[-1])
    alone.append([env.frame(*picture) for picture in PICTURES])
  return states, np.array(alone)


def drawn(env, states, pictures, count, quality):
  out = np.zeros((len(states), len(pictures), SIZE, SIZE, 3), np.uint8)
  with TileRenderer(env.task.spec_of_scene, env.robot, SIZE, quality, count) as renderer:
    renderer.render(states, pictures, out)
  return out


@pytest.mark.parametrize(
  ("robot", "quality"),
  [("sawyer", "fast"), ("sawyer", "full"), ("panda", "fast"), ("jaco", "full")],
)
def test_tiles_are_the_pictures_drawn_alone(arms_files, robot, quality):
  with RobotEnv(robot=robot, size=SIZE, quality=quality) as env:
    states, alone = played(env)
    tiles = drawn(env, states, PICTURES, 9, quality)
    # Two at a time: several turns, of which the last has one.
    in_turns = drawn(env, states, PICTURES, 2, quality)
  # The lowest tile of the buffer is where a picture alone is; further ones round otherwise.
  np.testing.assert_array_equal(tiles[0, 0], alone[0, 0])
  np.testing.assert_array_equal(in_turns.reshape(-1, *alone.shape[2:])[::2],
                                alone.reshape(-1, *alone.shape[2:])[::2])  # fmt: skip
  for each in (tiles, in_turns):
    levels = np.abs(each.astype(int) - alone)
    assert levels.mean() < 0.05
    assert (levels > 1).mean() < 0.01
  # Other pictures differ by far more.
  assert np.abs(alone[0].astype(int) - alone[1]).mean() > 1


def test_an_unknown_camera_and_a_second_closing():
  with RobotEnv(size=SIZE) as env:
    env.reset(seed=0)
    state = np.empty(state_size(env.model))
    state_vector(env.model, env.data, state)
    with pytest.raises(UserError, match="expected a camera of the scene .*got 'corner9'"):
      drawn(env, [state], [(View(camera="corner9"), True)], 1, "fast")
    renderer = TileRenderer(env.task.spec_of_scene, env.robot, SIZE)
    renderer.close()
    renderer.close()


def test_bad_sizes_and_qualities():
  with RobotEnv(size=SIZE) as env:
    for size, quality in ((0, "fast"), (8, "best")):
      with pytest.raises(UserError, match="^expected .*(got size 0|got 'best')"):
        TileRenderer(env.task.spec_of_scene, env.robot, size, quality)
