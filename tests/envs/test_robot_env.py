"""The Gymnasium environment: what its numbers are, seeds, time limits, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.envs import RobotEnv, robot_state
from vipjax.envs.expert import Expert
from vipjax.envs.metaworld_task import _UNMEASURED
from vipjax.runtime.errors import UserError
from vipjax.scene import View

ACTIONS = {"torque": 8, "end_effector": 4}


@pytest.fixture(scope="module")
def env():
  with RobotEnv(size=32) as env:
    yield env


@pytest.fixture(scope="module", params=ACTIONS)
def either(request):
  """An environment of each control."""
  with RobotEnv(control=request.param, horizon=30, size=32) as env:
    yield env


def random_actions(env, steps, seed=0):
  shape = (steps, *env.action_space.shape)
  return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def episode(env, actions, seed):
  """Everything an episode gave, frames apart."""
  observation, info = env.reset(seed=seed)
  observations, infos = [observation], [info]
  for action in actions:
    observation, _, _, _, info = env.step(action)
    observations.append(observation)
    infos.append(info)
  return np.stack(observations), infos


# The 51 numbers.


def test_the_first_24_numbers(env):
  env.reset(seed=1)
  for action in random_actions(env, 25):
    observation, *_ = env.step(action)
  joints = [env.data.joint(f"right_j{i}").qpos[0] for i in range(7)]
  np.testing.assert_array_equal(observation[:7], np.float32(joints))
  fingers = [env.data.joint(name).qpos[0] for name in ("r_close", "l_close")]
  np.testing.assert_array_equal(observation[7:9], np.float32(fingers))
  handle = env.data.site("handleOpenStart").xpos
  np.testing.assert_array_equal(observation[10:13], np.float32(handle))
  np.testing.assert_array_equal(observation[13:24], np.zeros(11))
  assert observation.shape == (51,) and observation.dtype == np.float32


def test_the_handle_follows_the_window(env):
  before, _ = env.reset(seed=1)
  env.data.joint("window_slide").qpos = 0.1
  after, *_ = env.step(np.zeros(8))
  np.testing.assert_allclose(after[10:13] - before[10:13], [0.1, 0, 0], atol=1e-3)


def test_the_gripper_opening(env):
  env.reset(seed=1)
  for _ in range(20):
    opened, *_ = env.step([0, 0, 0, 0, 0, 0, 0, -1])
  for _ in range(20):
    shut, *_ = env.step([0, 0, 0, 0, 0, 0, 0, 1])
  assert 0 <= shut[9] < 0.6 < 0.9 < opened[9] <= 1
  assert shut[7] > opened[7] and shut[8] < opened[8]


def test_the_numbers_of_the_step_before(env):
  before, _ = env.reset(seed=1)
  np.testing.assert_array_equal(before[24:48], before[:24])
  for action in random_actions(env, 5):
    observation, *_ = env.step(action)
    np.testing.assert_array_equal(observation[24:48], before[:24])
    assert (observation[:9] != before[:9]).any()
    before = observation


def test_the_goal(env):
  observation, _ = env.reset(seed=1)
  window = env.model.body("window").pos
  np.testing.assert_allclose(observation[48:], window + [0.2, 0, 0], atol=1e-6)
  np.testing.assert_array_equal(env.step(np.zeros(8))[0][48:], observation[48:])
  # Opening the window to its stop brings the handle near the goal, in x.
  env.data.joint("window_slide").qpos = 0.2
  observation, _, _, _, info = env.step(np.zeros(8))
  assert abs(observation[10] - observation[48]) < 0.05
  assert info["success"] is True


def test_the_hand_alone_is_what_trajectories_have_of_it():
  with RobotEnv(horizon=3, observes="hand") as env:
    observation, _ = env.reset(seed=0)
    for _ in range(2):
      assert observation.shape == env.observation_space.shape == (4,)
      np.testing.assert_array_equal(observation, robot_state(env)[:4])
      observation = env.step(np.ones(8, np.float32))[0]
  with pytest.raises(UserError, match="expected observes 'state' or 'hand', got 'object'"):
    RobotEnv(observes="object")


def test_other_tasks_have_51_numbers_too():
  with RobotEnv("drawer-open", size=16) as env:
    observation, info = env.reset(seed=0)
    assert observation.shape == (51,)
    assert observation in env.observation_space
    assert info["success"] is False
    assert env.frame(View(camera="corner")).std() > 10


# Seeds.


def test_the_same_seed_gives_the_same_episode(either):
  actions = random_actions(either, 20)
  first, infos = episode(either, actions, seed=3)
  frame = either.render()
  # Episodes in between leave no trace, nor does the environment's age.
  for seed in (4, 5):
    episode(either, random_actions(either, 30, seed), seed)
  second, infos_again = episode(either, actions, seed=3)
  np.testing.assert_array_equal(second, first)
  np.testing.assert_array_equal(either.render(), frame)
  assert infos_again == infos
  with RobotEnv(control=either.control, horizon=30, size=32) as fresh:
    third, _ = episode(fresh, actions, seed=3)
    np.testing.assert_array_equal(third, first)
    np.testing.assert_array_equal(fresh.render(), frame)


def test_episodes_after_a_seeded_one_follow_from_the_seed(either):
  either.reset(seed=3)
  second, _ = either.reset()
  third, _ = either.reset()
  either.reset(seed=3)
  np.testing.assert_array_equal(either.reset()[0], second)
  np.testing.assert_array_equal(either.reset()[0], third)
  assert (second[48:] != third[48:]).any()


def test_placements():
  goals = {}
  for placement in (None, 0, 1):
    with RobotEnv(placement=placement, size=16) as env:
      goals[placement] = np.stack([env.reset(seed=seed)[0] for seed in range(3)])
  moved, fixed, other = goals.values()
  assert len(np.unique(moved[:, 48:], axis=0)) == 3
  # One window for all seeds, while the arm's joints still differ.
  assert len(np.unique(fixed[:, 48:], axis=0)) == 1
  assert len(np.unique(fixed[:, :7], axis=0)) == 3
  assert (other[0, 48:] != fixed[0, 48:]).any()


def test_placements_are_the_same_for_both_controls(either):
  assert (either.placement, either.reset(seed=7)[0][48:].tolist()) == (
    None,
    RobotEnv(size=16).reset(seed=7)[0][48:].tolist(),
  )


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_joint_noise(noise):
  env = RobotEnv(joint_noise=noise, size=16)
  joints = np.stack([env.reset(seed=seed)[0][:7] for seed in range(30)]) - env.robot.home
  assert np.abs(joints).max() <= noise + 1e-6
  assert np.abs(joints).max() >= 0.9 * noise


# Time limits, and the simulation's own end.


def test_time_limits_truncate_and_do_not_terminate(either):
  either.reset(seed=0)
  for step, action in enumerate(random_actions(either, 30), start=1):
    _, reward, terminated, truncated, _ = either.step(action)
    assert reward == 0.0 and terminated is False
    assert truncated is (step == 30)
  either.reset(seed=0)
  assert either.step(random_actions(either, 1)[0])[3] is False


def test_success_does_not_end_the_episode(env):
  env.reset(seed=0)
  env.data.joint("window_slide").qpos = 0.2
  _, _, terminated, truncated, info = env.step(np.zeros(8))
  assert info["success"] and not terminated and not truncated


@pytest.mark.parametrize("spoil", ["qvel", "qpos"])
def test_a_diverged_simulation_truncates_at_its_last_good_state(
  either, spoil, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)  # MuJoCo writes its log to the current folder
  reference, _ = episode(either, random_actions(either, 3), seed=0)
  good, _ = episode(either, random_actions(either, 3), seed=0)
  before = either.render()
  getattr(either.data, spoil)[:] = 1e12 if spoil == "qvel" else np.nan
  observation, reward, terminated, truncated, info = either.step(either.action_space.sample())
  assert (reward, terminated, truncated, info["diverged"]) == (0.0, False, True, True)
  assert observation in either.observation_space
  # Nothing has moved: neither the numbers, now and before, nor the picture.
  np.testing.assert_array_equal(observation[:24], good[-1, :24])
  np.testing.assert_array_equal(observation[24:], np.append(good[-1, :24], good[-1, 48:]))
  np.testing.assert_array_equal(either.render(), before)
  # And the next episode knows nothing of it.
  again, infos = episode(either, random_actions(either, 3), seed=0)
  np.testing.assert_array_equal(again, reference)
  assert not any(info["diverged"] for info in infos)


# Bad input.


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_actions_that_are_not_finite(either, value):
  either.reset(seed=0)
  action = np.zeros(either.action_space.shape)
  action[1] = value
  with pytest.raises(UserError, match=r"^expected a finite action, got \[.*diverged\.$"):
    either.step(action)


@pytest.mark.parametrize("shape", [(), (3,), (1, 8)])
def test_actions_of_another_shape(either, shape):
  either.reset(seed=0)
  with pytest.raises(UserError) as error:
    either.step(np.zeros(shape))
  expected = f"expected an action of shape {either.action_space.shape} for {either.control}"
  assert str(error.value).startswith(expected)
  assert str(shape) in str(error.value)


def test_actions_are_clipped(either):
  action = random_actions(either, 1)[0]
  action[0] = 1.0
  clipped, _ = episode(either, [action], seed=0)
  action[0] = 30.0
  np.testing.assert_array_equal(episode(either, [action], seed=0)[0], clipped)


def test_a_step_before_the_first_reset():
  with pytest.raises(UserError, match=r"expected reset\(\) before the first step\(\)"):
    RobotEnv(size=16).step(np.zeros(8))


# Frames.


def test_render_is_the_frame_of_the_view(env):
  env.reset(seed=0)
  frame = env.render()
  assert frame.shape == (32, 32, 3) and frame.dtype == np.uint8
  np.testing.assert_array_equal(frame, env.frame(View()))
  assert (frame != env.frame(View(azimuth=40.0))).any()


def test_no_render_mode_renders_nothing():
  with RobotEnv(render_mode=None) as env:
    env.reset(seed=0)
    assert env.render() is None
    assert env._renderer is None


def test_rendering_leaves_the_episode_as_it_is(env):
  actions = random_actions(env, 10)
  reference, _ = episode(env, actions, seed=2)
  observation, _ = env.reset(seed=2)
  for action, expected in zip(actions, reference[1:], strict=True):
    env.frame(View(camera="corner"), robot_visible=False)
    np.testing.assert_array_equal(env.step(action)[0], expected)


def test_frames_per_second_follow_the_control_step():
  assert RobotEnv().metadata["render_fps"] == 80
  assert RobotEnv(frame_skip=10).metadata["render_fps"] == 40
  assert RobotEnv.metadata["render_fps"] == 80


@pytest.mark.parametrize("control", sorted(ACTIONS))
def test_an_action_held_for_three_control_steps_does_what_three_of_them_do(control):
  def joints_after(frame_skip, steps):
    env = RobotEnv("door-open", control=control, placement=0, frame_skip=frame_skip)
    env.reset(seed=0)
    for _ in range(steps):
      env.step(np.full(ACTIONS[control], 0.5, np.float32))
    return env.joint_positions()

  held = joints_after(15, 4)
  np.testing.assert_allclose(held, joints_after(5, 12), atol=1e-9)
  moved = np.abs(held - joints_after(5, 0)).max()
  assert np.abs(held - joints_after(5, 4)).max() > 0.3 * moved


def test_a_closed_environment_can_be_closed_again():
  env = RobotEnv(size=16)
  env.reset(seed=0)
  env.render()
  env.close()
  env.close()
  assert env._renderer is None


@pytest.mark.parametrize("task", sorted(_UNMEASURED))
def test_a_task_that_tells_no_distance_gets_that_of_its_object(task):
  """Meta-World's own is 0 in every state there, or that of the hand from what it should pull."""
  env = RobotEnv(task, control="end_effector", placement=0)
  _, _ = env.reset(seed=0)
  distance = env.distances()[1]
  apart = env.task._get_pos_objects()[-3:] - env.task._target_pos
  expected = abs(apart[0]) if task == "door-open" else np.linalg.norm(apart)
  assert distance == pytest.approx(expected)
  assert distance > 0.05
  _, _, _, _, info = env.step(np.zeros(4, np.float32))
  assert info["object_to_target"] == pytest.approx(env.distances()[1])


def test_the_door_nears_its_target_as_the_expert_opens_it():
  env = RobotEnv("door-open", placement=0, horizon=150)
  env.reset(seed=0)
  expert, distances = Expert(env), [env.distances()[1]]
  expert.reset()
  while not env.step(expert.action())[4]["success"]:
    distances.append(env.distances()[1])
  assert min(distances) == distances[-1] < 0.6 * distances[0]
