"""V-PTR's phases on recorded data: what is learned from, resuming, evaluation, errors."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from configs import vptr as config_lib
from tests.videos.clips import assert_one_sentence
from vipjax.encoder import Preprocessing, ResNetConfig, init_value, load
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import read_metrics
from vipjax.sac import load_actor
from vipjax.stages import offline, vptr, vptr_online
from vipjax.stages.embedded_data import load_data, unpacked
from vipjax.types import Trajectory, Video
from vipjax.videos import write_videos
from vipjax.videos.trajectories import write_trajectories


class Encoder:
  """Stands in for an encoder: the mean of each colour."""

  variables = np.zeros(1)

  def __init__(self):
    self.seen = 0

  def embed(self, frames, chunk=None):
    self.seen += len(frames)
    return frames.mean(axis=(1, 2)).astype(np.float32) / 255


def config_of(**overrides):
  config = config_lib.get_config()
  config.update_from_flattened_dict({
    "env.horizon": 4, "corpus.size": 16, "policy.final_episodes": 2, "policy.hidden": (8,),
    "policy.batch_size": 20, "vptr.robot_updates": 50, "vptr.target_updates": 50,
    "vptr.tasks": ("window-open",), **overrides,
  })  # fmt: skip
  return config


def made(task, success, number=0, actions=8, entries=30):
  rng, steps = np.random.default_rng(number), 6
  rewards, discounts = np.zeros(steps, np.float32), np.ones(steps, np.float32)
  if success:
    rewards[-3:], discounts[-1] = 1.0, 0.0
  return Trajectory(
    rng.normal(size=(steps + 1, entries)).astype(np.float32),
    rng.uniform(-1, 1, (steps, actions)).astype(np.float32),
    rewards, discounts, success, rng.integers(0, 256, (steps + 1, 16, 16, 3), dtype=np.uint8),
    80.0, task=task, view="front", episode=number,
  )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """Folders of data sets by name."""
  root = tmp_path_factory.mktemp("data")
  sets = {
    "many": [made("drawer-open", True), made("door-open", False, 1)],
    "target": [made("window-open", True)],
    "small": [made("window-open", True, actions=4)],
    "failed": [made("window-open", False)],
    "short": [made("window-open", True, entries=3)],
  }
  for name, trajectories in sets.items():
    write_trajectories(root / name, trajectories, "tfds")
  return root


def sources_of(data, cache, robot="many", target="target"):
  return vptr.Sources(data / robot, data / target, cache)


def drift(num_actions, sac, settings, sight=None):
  """Stands in for the update, which takes long to compile: depends on key, step and batch."""

  def update(state, batch):
    moved = jax.random.normal(jax.random.fold_in(state.key, state.step)) + batch.returns.mean()
    moved = 1e-3 * moved
    made = state._replace(step=state.step + 1, log_temperature=state.log_temperature + moved)
    return made, {"q_data": made.log_temperature, "q_pi": moved}

  return update


def test_two_phases_and_a_run_that_goes_on(tmp_path, data, monkeypatch):
  monkeypatch.setattr(offline, "make_conservative_update", drift)
  value, sources = Encoder(), sources_of(data, tmp_path / "cache")
  folder = tmp_path / "run"
  folder.mkdir()
  robot = vptr.train_robot(config_of(), folder, value, sources)
  assert robot["tasks"] == ["door-open", "drawer-open", "window-open"]
  counts = {name: robot[name] for name in ("updates", "trajectories", "steps", "successes")}
  assert counts == {"updates": 50, "trajectories": 2, "steps": 12, "successes": 1}
  # Every frame has been embedded once, whoever asks.
  assert value.seen == 14
  # Twice as long at once, and in two legs.
  longer, whole = config_of(**{"vptr.robot_updates": 100}), tmp_path / "whole"
  whole.mkdir()
  wanted = vptr.train_robot(longer, whole, value, sources)
  (folder / "stages" / "robot.json").unlink()
  assert vptr.train_robot(longer, folder, value, sources) == wanted and value.seen == 14
  assert [row["step"] for row in read_metrics(folder, "robot")] == [50, 100]
  monkeypatch.undo()
  offline._compiled.cache_clear()
  result = vptr.train_target(longer, folder, value, sources)
  # It began where the first phase ended, by which the temperature of 1 had fallen.
  assert result["temperature"] < np.exp(wanted["q_data"]) < 0.1
  assert np.isfinite(result["bellman_error"])
  assert result["updates"] == 50 and result["trajectories"] == 1 and result["episodes"] == 2
  assert 0 <= result["success"] <= 1 and (folder / "policy" / "final.mp4").exists()
  assert [row["step"] for row in read_metrics(folder, "target")] == [150]
  # Embedding, hand and gripper, three tasks.
  assert load_actor(folder)(np.zeros(3 + 4 + 3, np.float32)).shape == (8,)


def test_the_observation_has_the_embedding_the_hand_and_the_task(tmp_path, data):
  config, value = config_of(), Encoder()
  (trajectory,) = load_data(config, value, data / "target", tmp_path)
  wanted = made("window-open", True)
  np.testing.assert_allclose(trajectory.observations[:, :3], Encoder().embed(wanted.frames))
  np.testing.assert_array_equal(trajectory.observations[:, 3:], wanted.observations[:, :4])
  (again,) = load_data(config, value, data / "target", tmp_path)
  for name in ("observations", "actions", "rewards", "discounts"):
    np.testing.assert_array_equal(getattr(again, name), getattr(trajectory, name))
  assert (again.task, again.success, again.frames) == ("window-open", True, None)
  learner = offline.make_learner(config, value, [], [trajectory])
  seen = learner.target.transitions.observation
  np.testing.assert_array_equal(seen[:, 7:], np.ones((6, 1)))
  # In the second phase a tenth of each batch is the target's.
  both = dataclasses.replace(trajectory, task="drawer-open")
  learner = offline.make_learner(config, value, [both], [trajectory])
  assert offline._mixture(learner, "target")[1] == (18, 2)
  assert offline._mixture(learner, "robot")[1] == (20,)


@pytest.mark.parametrize(
  ("target", "words"),
  [
    ("many", ("episodes of config.env.task = 'window-open'", "door-open, drawer-open")),
    ("small", ("actions of 8 numbers", "'torque'", "got 4")),
    ("failed", ("rewards other than 0",)),
    ("short", ("config.vptr.state_entries = 4", "got 3")),
    ("films", ("a state, an action and a reward",)),
  ],
)
def test_data_that_do_not_fit_are_one_sentence(tmp_path, data, target, words):
  if target == "films" and not (data / "films").exists():
    write_videos(data / "films", [Video(np.zeros((3, 16, 16, 3), np.uint8))])
  config = config_of(**{"vptr.robot_updates": 0})
  with pytest.raises(UserError) as error:
    vptr.train_target(config, tmp_path, Encoder(), sources_of(data, tmp_path, target=target))
  assert_one_sentence(error, *words)


def test_own_episodes_join_the_data_and_a_run_goes_on(tmp_path, data, monkeypatch):
  monkeypatch.setattr(offline, "make_conservative_update", drift)
  offline._compiled.cache_clear()
  config = config_of(**{
    "vptr.robot_updates": 0, "vptr.online_episodes": 3, "vptr.online_round": 2,
    "vptr.online_updates": 50,
  })  # fmt: skip
  value, sources, folder = Encoder(), sources_of(data, tmp_path / "cache"), tmp_path / "run"
  folder.mkdir()
  with pytest.raises(UserError) as error:
    vptr_online.train_online(config, folder, value, sources)
  assert_one_sentence(error, "the stage 'target' to be finished", "before 'online'")
  before = vptr.train_target(config, folder, value, sources)
  whole = tmp_path / "whole"
  shutil.copytree(folder, whole)
  seen = []

  def interrupted(config, workdir, name, learner, *arguments):
    seen.append(learner.target)
    if len(seen) == 2:
      raise KeyboardInterrupt
    return offline.learn(config, workdir, name, learner, *arguments)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(vptr_online, "learn", interrupted)
    vptr_online.train_online(config, folder, value, sources)
  # One demonstration of six steps and two episodes of four, as often as there is room for.
  size = 6 + 3 * 4
  observations = seen[0].transitions.observation
  assert len(observations) == size and len(np.unique(observations, axis=0)) == 6 + 2 * 4
  played = value.seen
  result = vptr_online.train_online(config, folder, value, sources)
  # The episodes of the first round were read; that of the second had been played, too.
  assert value.seen - played == 2 * 4
  assert result == vptr_online.train_online(config, whole, value, sources)
  assert (result["trajectories"], result["steps"], result["updates"]) == (3, 12, 100)
  assert result["successes"] == 0 and result["episodes"] == 2
  assert result["q_data"] != before["q_data"]
  assert [row["step"] for row in read_metrics(folder, "online")] == [100, 150]
  offline._compiled.cache_clear()


def load_learner(config, value, sources):
  target = load_data(config, value, sources.target, sources.cache)
  return offline.make_learner(config, value, [], target)


@pytest.mark.parametrize("known", [False, True])
def test_an_encoder_learns_from_frames_of_the_size_that_the_policy_sees(tmp_path, data, known):
  value = init_value(jax.random.key(0), ResNetConfig("resnet18", 8, 4), Preprocessing(16, 16))
  config, sources = config_of(**{"vptr.encoder_learns": True}), sources_of(data, tmp_path)
  if known:  # embedded before, for a frozen one
    load_data(config_of(), value, sources.target, sources.cache)
  learner = load_learner(config, value, sources)
  np.testing.assert_array_equal(learner.target.frames, made("window-open", True).frames)
  config.corpus.size = 32
  with pytest.raises(UserError) as error:
    load_learner(config, value, sources)
  assert_one_sentence(error, "config.corpus.size = 32", "got 16x16")


def test_the_second_phase_waits_for_the_first(tmp_path, data):
  with pytest.raises(UserError) as error:
    vptr.train_target(config_of(), tmp_path, Encoder(), sources_of(data, tmp_path))
  assert_one_sentence(error, "the stage 'robot' to be finished", "config.vptr.stages")
  assert not run_folder.stage_done(tmp_path, "target")


def test_an_encoder_that_learns_goes_on_from_phase_to_phase(tmp_path, data):
  offline._compiled.cache_clear()
  config = config_of(**{
    "vptr.encoder_learns": True, "vptr.robot_updates": 0, "vptr.target_updates": 1,
    "vptr.online_episodes": 2, "vptr.online_round": 1, "vptr.online_updates": 1,
    "vptr.samples": 1, "vptr.actor_learning_rate": 1e-2, "policy.final_episodes": 1,
  })  # fmt: skip
  architecture = ResNetConfig("resnet18", 8, 4, "group", "small")
  value = init_value(jax.random.key(0), architecture, Preprocessing(16, 16))
  sources = sources_of(data, tmp_path / "cache")
  folder = tmp_path / "run"
  folder.mkdir()
  result = vptr.train_target(config, folder, value, sources)
  assert np.isfinite(result["bellman_error"]) and result["updates"] == 1
  frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
  learned = load(folder / "policy" / "encoder")
  assert np.abs(learned.embed(frames) - value.embed(frames)).max() > 1e-3
  assert "V-PTR" in learned.metadata["trained_on"]
  # The first entries are bounded by LayerNorm and tanh, whatever the frozen encoder's were.
  kept = np.asarray(load_learner(config, value, sources).state.actor["statistics"]["mean"])
  assert not kept[:4].any() and kept[4:8].any()
  # What the actor's encoder sees, the hand and the gripper, one task.
  assert load_actor(folder)(np.zeros(4 + 4 + 1, np.float32)).shape == (8,)
  # Own episodes are kept with their frames, and what is left of the room is black.
  shown = []

  def note(config, workdir, name, learner, *arguments):
    shown.append(learner.target)
    return offline.learn(config, workdir, name, learner, *arguments)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(vptr_online, "learn", note)
    result = vptr_online.train_online(config, folder, value, sources)
  (own,) = unpacked(folder / "own" / "0.npz")
  assert own.frames.shape == (5, 16, 16, 3)
  of_rounds = [each.frames for each in shown]
  assert [frames.shape for frames in of_rounds] == [(7 + 2 * 5, 16, 16, 3)] * 2
  np.testing.assert_array_equal(of_rounds[0][7:12], own.frames)
  assert not of_rounds[0][12:].any() and of_rounds[1][12:].any()
  assert np.abs(load(folder / "policy" / "encoder").embed(frames) - learned.embed(frames)).max() > 0
  assert result["episodes"] == 1
  offline._compiled.cache_clear()
