"""Films scripted experts from several viewpoints, with and without the robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vipjax.envs.expert import Expert
from vipjax.envs.robot_env import RobotEnv
from vipjax.runtime.errors import UserError
from vipjax.scene import View
from vipjax.types import Trajectory, Video

_REWARDED = 3  # last steps of a success


def record_episode(
  env: RobotEnv,
  views: Mapping[str, View],
  seed: int,
  *,
  robot_free: bool = True,
  hold: int = 5,
  retreat: int = 0,
  frame_stride: int = 1,
  act: Callable[[np.ndarray], np.ndarray] | None = None,
  episode: int = 0,
  at_frame: Callable[[], None] | None = None,
  begin: int = 0,
) -> list[Video]:
  """Films one episode of the expert (or of any policy).

  The film ends `hold` steps after the first success, so that its last frame shows the reached goal,
  or where the episode is truncated. It includes that last frame at any `frame_stride`. With
  `retreat` it goes on from there, and its last frames show the hand on its way back.

  Args:
    env: the environment; it is reset.
    views: viewpoints by name.
    seed: seed of the episode.
    robot_free: also film each view with the robot's alpha at 0.
    hold: steps filmed after success.
    retreat: steps filmed after these, in which the expert's hand leaves.
    frame_stride: control steps from one frame to the next.
    act: maps an observation, float32 [51], to an action; None is the scripted expert.
    episode: the episode's number in the videos' metadata.
    at_frame: called at every filmed frame, to note more of the state.
    begin: control steps before the film begins; an episode that ends within them has one frame.

  Returns:
    One video per view and visibility, in the order view 1, view 1 robot-free, view 2, ...

  Raises:
    UserError: no views, a negative `hold`, `retreat` or `begin`, or a `frame_stride` below 1; a
      retreat that the time limit cuts short or that undoes the task.
  """
  if not views:
    raise UserError("expected at least one view to record, got none; name some.")
  if hold < 0 or retreat < 0 or begin < 0 or frame_stride < 1:
    raise UserError(
      "expected a hold, a retreat and a begin of at least 0 and a frame_stride of at least 1 step, "
      f"got {hold}, {retreat}, {begin} and {frame_stride}; raise the one below its least."
    )
  channels = [
    (name, visible) for name in views for visible in ((True, False) if robot_free else (True,))
  ]
  frames = {channel: [] for channel in channels}
  observation, _ = env.reset(seed=seed)
  expert = Expert(env)
  expert.reset()
  left, succeeded, step, truncated = None, False, 0, False
  while True:
    ends = left == -retreat or truncated
    # After the frame in which all is done, as many steps apart as before.
    since = step - begin if left is None or left >= 0 else -left
    if ends or left == 0 or (step >= begin and since % frame_stride == 0):
      for name, visible in channels:
        frames[name, visible].append(env.frame(views[name], visible))
      if at_frame is not None:
        at_frame()
    if ends:
      break
    if left is not None and left <= 0:
      action = expert.retreat()
    else:
      action = expert.action() if act is None else act(observation)
    observation, _, _, truncated, info = env.step(action)
    step += 1
    if left is not None:
      left -= 1
    elif info["success"]:
      left, succeeded = hold, True
  if succeeded and retreat and (left > -retreat or not info["success"]):
    raise UserError(
      f"expected {env.task_name} to stay solved for {retreat} steps in which the hand leaves, got "
      f"{'the time limit' if left > -retreat else 'a task that is undone'} after {-left}; lower "
      "config.record.retreat, raise config.env.horizon, or choose another task."
    )
  return [
    Video(
      frames=np.stack(frames[name, visible]),
      fps=env.metadata["render_fps"] / frame_stride,
      task=env.task_name,
      embodiment=env.robot.name,
      view=name,
      robot_visible=visible,
      success=succeeded,
      source=f"{env.task_name}, {env.robot.name}, seed {seed}",
      episode=episode,
    )
    for name, visible in channels
  ]


def record_trajectories(
  env: RobotEnv,
  views: Mapping[str, View],
  seed: int,
  act: Callable[[np.ndarray], np.ndarray],
  *,
  hold: int = 5,
  episode: int = 0,
  begin: int = 0,
) -> list[Trajectory]:
  """Records one episode with its actions, at every control step.

  Its reward is 1 in the last three steps of an episode that ends in success, where the last ends it
  for good, and 0 elsewhere: the sparse reward of V-PTR (arXiv:2309.13041).

  Args:
    env, views, seed, act, hold, episode, begin: as for `record_episode`.

  Returns:
    A trajectory for each view, whose observations are `robot_state`; [] for an episode that ends
    before it begins.
  """
  states, actions = [], []

  def noted(observation: np.ndarray) -> np.ndarray:
    actions.append(act(observation))
    return actions[-1]

  videos = record_episode(
    env, views, seed, robot_free=False, hold=hold, act=noted, episode=episode, begin=begin,
    at_frame=lambda: states.append(robot_state(env)),
  )  # fmt: skip
  actions = actions[begin:]
  if not actions:
    return []
  rewards, discounts = np.zeros(len(actions), np.float32), np.ones(len(actions), np.float32)
  if videos[0].success:
    rewards[-_REWARDED:], discounts[-1] = 1.0, 0.0
  arrays = np.stack(states), np.stack(actions), rewards, discounts
  return [Trajectory.of_video(video, *arrays) for video in videos]


def robot_state(env: RobotEnv) -> np.ndarray:
  """What a trajectory has of the present state, float32 [30].

  0..2    the hand's position, metres
  3       gripper opening, 0 (shut) to 1
  4..17   Meta-World's object features, as in `RobotEnv`'s observation
  18..26  positions of the arm's joints and the fingers, likewise
  27..29  the task's goal position, metres
  """
  joints = env.joint_positions()
  seen = env.scripted_observation()  # Its last three are the goal; 18..35 are of the step before.
  return np.concatenate([seen[:18], joints, seen[36:]]).astype(np.float32)


def random_motion(
  seed: int, num_actions: int, hold: int = 10
) -> Callable[[np.ndarray], np.ndarray]:
  """Makes a policy for `record_episode` that draws a uniform action every `hold` steps."""
  rng = np.random.default_rng(seed)
  steps, action = 0, np.zeros(num_actions, np.float32)

  def act(observation: np.ndarray) -> np.ndarray:
    nonlocal steps, action
    del observation
    if steps % hold == 0:
      action = rng.uniform(-1.0, 1.0, num_actions).astype(np.float32)
    steps += 1
    return action

  return act


def noisy_expert(
  env: RobotEnv, noise: float, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
  """Makes a policy for one `record_episode`: the expert with normal noise on its actions.

  `noise` is the standard deviation; a large one makes the expert fail.
  """
  expert, started = Expert(env), False

  def act(observation: np.ndarray) -> np.ndarray:
    nonlocal started
    del observation
    if not started:  # record_episode has reset the environment since then
      expert.reset()
      started = True
    action = expert.action() + noise * rng.normal(size=env.action_space.shape)
    return np.clip(action, -1.0, 1.0).astype(np.float32)

  return act


def abandoned_expert(env: RobotEnv, steps: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
  """Makes a policy for one `record_episode`: `steps` steps of the expert, then random motion."""
  rng = np.random.default_rng(seed)
  expert = noisy_expert(env, 0.0, rng)
  wander, done = random_motion(seed, env.action_space.shape[0]), 0

  def act(observation: np.ndarray) -> np.ndarray:
    nonlocal done
    done += 1
    return expert(observation) if done <= steps else wander(observation)

  return act


def recovering_expert(
  env: RobotEnv, toward: int, away: int, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
  """Makes a policy for one `record_episode`: an abandoned expert that resumes the task.

  Filmed from there on (`begin=toward + away`), it shows the way to the goal from states that an
  expert alone never visits.

  Args:
    env: the environment.
    toward: steps of the expert at the start.
    away: steps of random motion after that.
    seed: seed of the random motion.
  """
  lost, done, expert = abandoned_expert(env, toward, seed), 0, None

  def act(observation: np.ndarray) -> np.ndarray:
    nonlocal done, expert
    done += 1
    if done <= toward + away:
      return lost(observation)
    if expert is None:
      expert = noisy_expert(env, 0.0, np.random.default_rng(seed))
    return expert(observation)

  return act
