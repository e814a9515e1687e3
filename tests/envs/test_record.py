"""Filming one episode: lengths, what is noted of it, with and without the robot."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.envs import (
  Expert,
  RobotEnv,
  abandoned_expert,
  noisy_expert,
  random_motion,
  record_episode,
  recovering_expert,
)
from vipjax.runtime.errors import UserError
from vipjax.scene import View

VIEWS = {"left": View(), "right": View(azimuth=40.0)}
SEED = 3


@pytest.fixture(scope="module")
def env():
  with RobotEnv(size=24) as env:
    yield env


@pytest.fixture(scope="module")
def film(env):
  return record_episode(env, VIEWS, SEED, hold=5, episode=2)


@pytest.fixture(scope="module")
def steps(env):
  """How many steps the expert takes to its first success."""
  env.reset(seed=SEED)
  expert = Expert(env)
  expert.reset()
  for step in range(1, env.horizon + 1):
    if env.step(expert.action())[-1]["success"]:
      return step
  raise AssertionError("the expert fails")


def test_two_views_with_and_without_the_robot(film):
  assert [(video.view, video.robot_visible) for video in film] == [
    ("left", True),
    ("left", False),
    ("right", True),
    ("right", False),
  ]
  for video in film:
    assert video.metadata() | {"view": "", "robot_visible": None} == {
      "fps": 80,
      "task": "window-open",
      "embodiment": "sawyer",
      "view": "",
      "robot_visible": None,
      "success": True,
      "source": "window-open, sawyer, seed 3",
      "episode": 2,
    }


def test_it_ends_some_steps_after_success(env, film, steps):
  # The state at reset, one frame per step, and the steps held.
  assert {video.frames.shape for video in film} == {(1 + steps + 5, 24, 24, 3)}
  assert all(video.frames.dtype == np.uint8 for video in film)
  (short,) = record_episode(env, {"left": View()}, SEED, hold=0, robot_free=False)
  assert len(short.frames) == 1 + steps
  np.testing.assert_array_equal(short.frames, film[0].frames[: 1 + steps])


def test_the_first_frame_is_the_state_at_reset(env, film):
  env.reset(seed=SEED)
  for video in film:
    frame = env.frame(VIEWS[video.view], video.robot_visible)
    np.testing.assert_array_equal(video.frames[0], frame)


def test_pairs_differ_by_the_robot_alone(film):
  for plain, free in (film[:2], film[2:]):
    covered = (plain.frames != free.frames).any(axis=-1).mean(axis=(1, 2))
    assert (covered > 0).all() and (covered < 0.7).all()
    # Without the robot nothing moves until the window does.
    assert (plain.frames[0] != plain.frames[10]).any()
    np.testing.assert_array_equal(free.frames[0], free.frames[10])
    assert (free.frames[0] != free.frames[-1]).any()


def test_a_stride_keeps_the_last_frame(env, film):
  (video,) = record_episode(env, {"left": View()}, SEED, frame_stride=10, robot_free=False)
  whole = film[0].frames
  assert (len(whole) - 1) % 10 != 0, "this seed's film ends on the stride: take another"
  np.testing.assert_array_equal(video.frames[:-1], whole[::10])
  np.testing.assert_array_equal(video.frames[-1], whole[-1])
  assert video.fps == 8


def test_the_hand_may_leave_in_the_end(env, film):
  noted = []
  plain, free = record_episode(
    env, {"left": View()}, SEED, frame_stride=4, retreat=50, at_frame=lambda: noted.append(
      (env.data.body(env.robot.hand_body).xpos.copy(), env.distances()[1])
    ),
  )  # fmt: skip
  whole = film[0].frames
  done = -(-(len(whole) - 1) // 4)  # what is filmed without a retreat ends here
  assert len(plain.frames) == len(noted) == done + 1 + 13 and plain.success
  np.testing.assert_array_equal(plain.frames[:done], whole[:-1:4])
  np.testing.assert_array_equal(plain.frames[done], whole[-1])
  hands, left = (np.array(each) for each in zip(*noted, strict=True))
  away = np.linalg.norm(hands - hands[0], axis=-1)
  assert away[-1] < 0.05 < 0.2 < away[done]
  # The window stays open, and the robot's picture no longer changes that of the window.
  assert (left[done:] < 0.05).all() and np.ptp(left[done + 4 :]) < 0.01


def test_a_hand_that_is_driven_by_displacements_leaves_too():
  noted = []
  with RobotEnv("drawer-close", control="end_effector", size=24, placement=0) as env:
    (film,) = record_episode(
      env, {"left": View()}, SEED, retreat=60, robot_free=False, at_frame=lambda: noted.append(
        (env.data.body(env.robot.hand_body).xpos.copy(), env.distances()[1])
      ),
    )  # fmt: skip
  hands, left = (np.array(each) for each in zip(*noted, strict=True))
  assert film.success and hands[:, 2].min() < hands[0, 2] - 0.05
  np.testing.assert_allclose(hands[-1], hands[0], atol=0.03)
  assert left[-1] < left[0] - 0.05


@pytest.mark.parametrize(
  ("task", "horizon", "words"),
  [
    ("drawer-open", 300, "a task that is undone after 100"),  # The hand hooks it.
    ("drawer-close", 120, "the time limit after "),
  ],
)
def test_a_retreat_that_does_not_show_the_end_is_refused(task, horizon, words):
  with RobotEnv(task, control="end_effector", size=24, placement=0, horizon=horizon) as env:
    with pytest.raises(UserError, match=f"expected {task} to stay solved for 100 .* got {words}"):
      record_episode(env, {"left": View()}, SEED, retreat=100, robot_free=False)


def test_a_film_may_begin_later(env, film):
  (late,) = record_episode(
    env, {"left": View()}, SEED, frame_stride=10, robot_free=False, begin=7
  )  # fmt: skip
  whole = film[0].frames
  np.testing.assert_array_equal(late.frames[:-1], whole[7:-1:10])
  np.testing.assert_array_equal(late.frames[-1], whole[-1])
  # It ended before that: its end alone.
  (end,) = record_episode(env, {"left": View()}, SEED, robot_free=False, begin=len(whole) + 9)
  np.testing.assert_array_equal(end.frames, whole[-1:])


def test_a_policy_that_fails_is_filmed_to_the_time_limit():
  seen = []

  def act(observation):
    seen.append(observation)
    return np.zeros(8)

  with RobotEnv(size=16, horizon=12) as env:
    (video,) = record_episode(env, {"left": View()}, 0, robot_free=False, act=act)
    reference, _ = env.reset(seed=0)
  assert len(video.frames) == 13 and video.success is False
  assert len(seen) == 12
  np.testing.assert_array_equal(seen[0], reference)


def test_success_in_the_last_steps_is_filmed_to_the_time_limit(steps):
  with RobotEnv(size=16, horizon=steps + 2) as env:
    (video,) = record_episode(env, {"left": View()}, SEED, robot_free=False, hold=50)
  assert len(video.frames) == 1 + steps + 2 and video.success is True


def test_a_diverged_episode_ends(env, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)  # MuJoCo writes its log to the current folder
  count = 0

  def act(observation):
    nonlocal count
    count += 1
    if count == 4:
      env.data.qvel[:] = 1e12
    return np.zeros(8)

  (video,) = record_episode(env, {"left": View()}, 0, robot_free=False, act=act)
  assert len(video.frames) == 5
  np.testing.assert_array_equal(video.frames[4], video.frames[3])


def test_random_motion():
  act, again, other = random_motion(0, 8, hold=3), random_motion(0, 8, hold=3), random_motion(1, 8)
  actions = np.stack([act(None) for _ in range(9)])
  np.testing.assert_array_equal(actions, [again(None) for _ in range(9)])
  np.testing.assert_array_equal(actions[0], actions[2])
  assert len(np.unique(actions, axis=0)) == 3
  assert (actions[0] != other(None)).any()
  assert actions.dtype == np.float32 and np.abs(actions).max() <= 1


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"views": {}}, "expected at least one view to record, got none"),
    ({"hold": -1}, "expected a hold, a retreat and a begin of at least 0 .* got -1, 0, 0 and 1"),
    ({"retreat": -3}, "got 5, -3, 0 and 1"),
    ({"begin": -2}, "got 5, 0, -2 and 1"),
    ({"frame_stride": 0}, "a frame_stride of at least 1 step, got 5, 0, 0 and 0"),
  ],
)
def test_bad_options(env, options, words):
  with pytest.raises(UserError, match=words):
    record_episode(env, **({"views": VIEWS, "seed": 0} | options))


def test_the_state_is_noted_at_every_frame(env):
  noted = []
  (video,) = record_episode(
    env, {"left": View()}, SEED, robot_free=False, frame_stride=4,
    at_frame=lambda: noted.append(env.distances()),
  )  # fmt: skip
  hand, target = np.array(noted).T
  assert len(noted) == len(video.frames)
  assert hand[0] > 0.2 and target[0] > 0.2
  # The expert has opened the window.
  assert target[-1] <= 0.05 and hand[-1] < hand[0]


def test_an_abandoned_expert_is_the_expert_first(env):
  expert = Expert(env)
  observation, _ = env.reset(seed=SEED)
  act = abandoned_expert(env, 5, seed=1)
  expert.reset()
  for step in range(8):
    action, wanted = act(observation), expert.action()
    assert np.allclose(action, wanted) == (step < 5)
    observation, *_ = env.step(action)


def test_a_recovering_expert_reaches_the_goal_from_where_it_was_led():
  with RobotEnv(size=16, horizon=400) as env:
    act, noted = recovering_expert(env, 10, 60, seed=5), []
    (video,) = record_episode(
      env, {"left": View()}, SEED, robot_free=False, act=act, begin=70,
      at_frame=lambda: noted.append(env.distances()),
    )  # fmt: skip
    abandoned, actions = abandoned_expert(env, 10, seed=5), []
    again = recovering_expert(env, 10, 60, seed=5)
    observation, _ = env.reset(seed=SEED)
    for step in range(75):
      both = abandoned(observation), again(observation)
      actions.append(np.allclose(*both))
      if step == 70:
        # A fresh expert: its target is where the hand is now.
        expert = Expert(env)
        expert.reset()
        np.testing.assert_array_equal(both[1], expert.action())
      observation, *_ = env.step(both[1])
  assert video.success is True and len(video.frames) == len(noted)
  assert actions == [True] * 70 + [False] * 5
  # It was led away from the handle, and the window is open in the end.
  assert noted[0][0] > 0.3 and noted[0][1] > 0.2 and noted[-1][1] <= 0.05


def test_noise_is_of_the_generator(env):
  actions = []
  for _ in range(2):
    env.reset(seed=SEED)
    actions.append(noisy_expert(env, 0.3, np.random.default_rng(4))(None))
  env.reset(seed=SEED)
  quiet = noisy_expert(env, 0.0, np.random.default_rng(4))(None)
  np.testing.assert_array_equal(actions[0], actions[1])
  assert (actions[0] != quiet).any() and np.abs(actions[0]).max() <= 1
