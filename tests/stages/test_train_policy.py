"""The policy stage on a tiny run: what it keeps, resume, goals, and bad input."""

import dataclasses
import json
import signal

import gymnasium
import jax
import numpy as np
import pytest

from configs import demo
from tests.reward.of_config import make_reward
from tests.runtime.test_metrics import read_events
from vipjax import encoder
from vipjax.envs import Seen, Step
from vipjax.report.run import read_run
from vipjax.reward import EmbeddingReward
from vipjax.runtime.errors import UserError
from vipjax.sac import SacSettings, evaluate_policies, init_agent, load_actor
from vipjax.sac import agent as agent_lib
from vipjax.stages import training as train_lib
from vipjax.stages.record import record
from vipjax.stages.rollouts import roll_out
from vipjax.stages.task import filled
from vipjax.stages.train_policy import train_policy
from vipjax.videos import read_videos


def config_of(**overrides):
  config = filled(demo.get_config())
  config.update_from_flattened_dict({
    "record.size": 24, "evaluate.unseen_episodes": 0, "env.horizon": 30,
    "policy.steps": 24, "policy.num_envs": 2, "policy.warmup_steps": 4, "policy.hidden": (16, 16),
    "policy.batch_size": 8, "policy.eval_every": 8, "policy.eval_episodes": 2,
    "policy.final_episodes": 2, "policy.checkpoint_every": 8,
    **overrides,
  })  # fmt: skip
  return config


@pytest.fixture(scope="module")
def prepared(one_block, tmp_path_factory):
  """A run folder with the four videos and a fresh encoder."""
  workdir = tmp_path_factory.mktemp("run")
  record(config_of(**{"env.horizon": 150}), workdir)
  config = encoder.ResNetConfig("resnet18", width=8, embedding_dim=8)
  value = encoder.init_value(jax.random.key(0), config, encoder.Preprocessing(16, 16))
  encoder.save(workdir / "encoder", value)
  return workdir


@pytest.fixture
def workdir(prepared, tmp_path):
  for name in ("videos", "encoder"):
    (tmp_path / name).symlink_to(prepared / name)
  return tmp_path


def policy_rows(workdir):
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [row for row in rows if row["stage"] == "policy"]


def stopping(at: int, act):
  """A progress bar that acts when it is at some step."""

  class Bar(train_lib.Progress):
    def update(self, items=1, **metrics):
      super().update(items, **metrics)
      if self.count == at:
        act()

  return Bar


def interrupt():
  raise KeyboardInterrupt


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("uninterrupted")
  for name in ("videos", "encoder"):
    (workdir / name).symlink_to(prepared / name)
  return workdir, train_policy(config_of(), workdir)


def assert_same_run(workdir, reference):
  """Every metric, the policy kept, and all of the state at the end, bit for bit."""
  assert policy_rows(workdir) == policy_rows(reference)
  states = []
  for folder in (workdir, reference):
    assert (folder / "policy" / "actor.safetensors").exists()
    newest = max((folder / "checkpoints" / "policy").iterdir(), key=lambda path: int(path.name))
    record = json.loads((newest / "record" / "metadata").read_text())
    states.append((newest.name, record["checksums"], record["metadata"]["episodes"]))
  assert states[0] == states[1]
  actors = [
    (folder / "policy" / "actor.safetensors").read_bytes() for folder in (workdir, reference)
  ]
  assert actors[0] == actors[1]


# In the middle of an episode of 10 actions, after updates, before and after evaluations; where
# workers step the environments, as in the whole run, and where none do.
@pytest.mark.parametrize(("at", "workers"), [(10, 0), (14, 2), (22, 0)])
def test_interrupted_it_goes_on_as_if_nothing_had_happened(
  workdir, uninterrupted, monkeypatch, at, workers
):
  monkeypatch.setattr("vipjax.envs.vector.usable_cores", lambda: workers)
  with monkeypatch.context() as patch:
    patch.setattr(train_lib, "Progress", stopping(at, interrupt))
    with pytest.raises(KeyboardInterrupt):
      train_policy(config_of(), workdir)
  assert [row["step"] for row in policy_rows(workdir)] == [8, 16, 24][: at // 8]
  result = train_policy(config_of(), workdir)
  assert_same_run(workdir, uninterrupted[0])
  different = ("env_steps_per_second",)
  assert {k: v for k, v in result.items() if k not in different} == {
    k: v for k, v in uninterrupted[1].items() if k not in different
  }
  assert train_policy(config_of(), workdir) == result


def assert_interrupted_is_whole(config, workdir, prepared, tmp_path, monkeypatch):
  """A run of the config, interrupted in `workdir`, ends as one that was not."""
  whole = tmp_path / "whole"
  whole.mkdir()
  for name in ("videos", "encoder"):
    (whole / name).symlink_to(prepared / name)
  train_policy(config, whole)
  with monkeypatch.context() as patch:
    patch.setattr(train_lib, "Progress", stopping(14, interrupt))
    with pytest.raises(KeyboardInterrupt):
      train_policy(config, workdir)
  train_policy(config, workdir)
  assert_same_run(workdir, whole)


def test_where_one_process_draws_it_goes_on_as_well(workdir, prepared, tmp_path, monkeypatch):
  config = config_of(**{"policy.drawing": "one_process"})
  assert_interrupted_is_whole(config, workdir, prepared, tmp_path, monkeypatch)


@pytest.mark.usefixtures("no_workers")
def test_sigterm_saves_at_once_and_exits_with_its_status(workdir, uninterrupted, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(train_lib, "Progress", stopping(12, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SystemExit) as stopped:
      train_policy(config_of(), workdir)
  assert stopped.value.code == 143
  assert (workdir / "checkpoints" / "policy" / "12").exists()
  train_policy(config_of(), workdir)
  assert_same_run(workdir, uninterrupted[0])


@pytest.mark.usefixtures("no_workers")
def test_a_policy_that_looks_where_the_object_is_goes_on_as_well(
  workdir, prepared, tmp_path, monkeypatch
):
  config = config_of(**{"policy.input": "frame", "policy.steps": 16})
  assert_interrupted_is_whole(config, workdir, prepared, tmp_path, monkeypatch)
  # Eight numbers of the embedding, the hand's position and the gripper.
  assert load_actor(workdir)(np.zeros(12, np.float32)).shape == (8,)
  config.evaluate.off_path_episodes = 1
  videos = read_videos(workdir / "videos")
  kinds = [each.kind for each in roll_out(config, workdir, videos)]
  assert kinds == ["perturbed", "abandoned", "random", "policy"]


@pytest.mark.usefixtures("no_workers")
def test_too_many_updates_that_are_not_finite_end_the_run(workdir, monkeypatch):
  train_loop = train_lib.train_loop

  def skipping(*arguments):
    for loop_step in train_loop(*arguments):
      agent = loop_step.state.agent._replace(skipped=np.array([3, 3]))
      metrics = {"critic_loss": np.float32(np.nan), "actor_loss": np.float32(0)}
      yield loop_step._replace(state=loop_step.state._replace(agent=agent), metrics=metrics)

  monkeypatch.setattr(train_lib, "train_loop", skipping)
  sentence = r"3 updates in a row up to step 2 .*\(not finite: critic_loss\)"
  with pytest.raises(UserError, match=sentence):
    train_policy(config_of(**{"policy.max_skipped": 3}), workdir)


def test_what_it_kept_and_says(uninterrupted):
  workdir, result = uninterrupted
  assert result["best_step"] in (8, 16, 24)
  assert result["env_steps"] == 24
  assert 0.0 <= result["policy_success"] <= 1.0
  # The policy that is kept is the one of the highest return, whatever its success.
  best = max(policy_rows(workdir), key=lambda row: row["return"])
  assert best["step"] == result["best_step"]


def test_people_can_watch_it(uninterrupted):
  workdir, _ = uninterrupted
  values = [(e.step, v) for e in read_events(workdir, "policy") for v in e.summary.value]
  films = [(step, value.tag) for step, value in values if value.HasField("image")]
  assert films == [(8, "episode"), (16, "episode"), (24, "final")]
  goals = json.loads((workdir / "policy" / "goals.json").read_text())["frames"]
  assert [goal["robot_visible"] for goal in goals] == [True, False]


@pytest.mark.usefixtures("no_workers")
def test_seeds_at_once_are_rewarded_by_one_call_and_each_is_kept(workdir, monkeypatch):
  embedded, observe = set(), EmbeddingReward.observe

  def counted(self, seen):
    embedded.add(len(seen.frames))
    return observe(self, seen)

  monkeypatch.setattr(EmbeddingReward, "observe", counted)
  result = train_policy(config_of(**{"policy.seeds": 2, "policy.steps": 16}), workdir)
  # Two agents with two environments each, and ten each where the window is elsewhere.
  assert embedded == {4, 20}
  each = result["agents"]
  assert [agent["seed"] for agent in each] == [0, 1]
  assert result["policy_return"] == pytest.approx(np.mean([a["policy_return"] for a in each]))
  assert each[0]["policy_return"] != each[1]["policy_return"]
  for folder in ("", "seed0", "seed1"):
    files = {path.name for path in (workdir / "policy" / folder).iterdir() if path.is_file()}
    assert files >= {"actor.json", "actor.safetensors", "final.mp4"}
  for name in ("seed0", "seed1"):
    events = read_events(workdir, f"policy/{name}")
    films = [(e.step, v.tag) for e in events for v in e.summary.value if v.HasField("image")]
    assert films == [(8, "episode"), (16, "final")]
  assert list(read_run(workdir).policy_videos) == [
    "The final policy of seed 0", "The final policy of seed 1",
  ]  # fmt: skip


def test_goals_are_the_last_frames_of_the_policys_view(prepared):
  value, videos = encoder.load(prepared), read_videos(prepared / "videos")
  reward, channels, size = make_reward(config_of(), value, videos)
  assert size == 24
  assert [channel.robot_visible for channel in channels] == [True, False]
  lasts = np.stack([videos[0].frames[-1], videos[1].frames[-1]])
  potential, distances = reward.potential(lasts[None])
  np.testing.assert_allclose(distances, 0.0, atol=1e-3)
  firsts = np.stack([videos[0].frames[0], videos[1].frames[0]])
  potential, _ = reward.potential(firsts[None])
  np.testing.assert_allclose(potential, -3.0, rtol=1e-3)  # weights 1 and 2, normalized


@pytest.mark.parametrize(
  ("overrides", "sentence"),
  [
    ({"policy.views": ("below",)}, r"among front, side, got \['below'\]"),
    ({"policy.steps": 0}, "policy.steps of at least 1 .*got 0"),
    ({"policy.seeds": 0}, "policy.seeds of at least 1 .*got 0"),
    ({"policy.seeds": 3, "policy.online.every": 8}, r"seeds=1 with .*got 3 with every=8; run the"),
    ({"policy.input": "frame", "policy.online.every": 8}, "with config.policy.input 'fr.*got 8"),
    ({"policy.final_episodes": 0}, "policy.final_episodes of at least 1 .*got 0"),
    ({"policy.checkpoint_every": 0}, "policy.checkpoint_every of at least 1 .*got 0"),
    ({"policy.warmup_steps": 0}, "config.policy.warmup_steps of at least 1 .*got 0"),
    ({"reward.form": "delta"}, "got 'delta'"),
    ({"env.task": "window-opne"}, "got 'window-opne'"),
  ],
)
@pytest.mark.usefixtures("no_workers")
def test_bad_settings_are_one_sentence(workdir, overrides, sentence):
  with pytest.raises(UserError, match=sentence):
    train_policy(config_of(**overrides), workdir)


def test_a_goal_without_its_video_is_one_sentence(prepared):
  value, videos = encoder.load(prepared), read_videos(prepared / "videos")
  visible = [video for video in videos if video.robot_visible]
  with pytest.raises(UserError, match="without the robot from view 'front'"):
    make_reward(config_of(), value, visible)


def test_a_failed_video_is_no_goal(prepared):
  value, videos = encoder.load(prepared), read_videos(prepared / "videos")
  failed = [dataclasses.replace(video, success=False) for video in videos]
  with pytest.raises(UserError, match="with the robot from view 'front'"):
    make_reward(config_of(), value, failed)


class DivergingEnv:
  """Three environments; the second ends at its first step, and its next episode succeeds."""

  num_envs, horizon = 3, 3
  action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  seen = Seen(
    np.zeros((3, 1, 4, 4, 3), np.uint8), np.zeros((3, 2), np.float32), np.ones(3, np.float32)
  )

  def reset(self, seed):
    self.t = 0
    return np.zeros((3, 5), np.float32), self.seen

  def step(self, action, draw):
    self.t += 1
    truncated = np.array([False, self.t == 1, False]) | (self.t == self.horizon)
    success = np.array([self.t == 3, self.t > 1, False])
    after = (np.zeros((3, 5), np.float32), *self.seen)
    return Step(*after, truncated, success, *after)


class SteadyReward:
  telescopes, calls = True, 0

  def observe(self, seen):
    self.calls += 1
    return np.full(3, float(self.calls), np.float32), np.ones((3, 1), np.float32)

  def gain(self, first, last):
    return 2 * (last - first)


def test_an_episode_that_diverged_ends_there():
  sac = SacSettings(hidden=(4,))
  actor = init_agent(jax.random.key(0), 5, 2, sac).actor
  (result,) = evaluate_policies(DivergingEnv(), SteadyReward(), actor, sac, 3, [0])
  assert result["success"] == pytest.approx(1 / 3)
  assert result["final_success"] == pytest.approx(1 / 3)
  assert result["steps_to_success"] == 3
  assert result["return"] == pytest.approx(2 * (2.0 - 1.0) * 2 / 3)


def test_evaluations_trace_the_policy_once(monkeypatch):
  traced, make_policy = [], agent_lib.make_policy

  def counted(*arguments):
    policy = make_policy(*arguments)
    return lambda *inputs: traced.append(arguments) or policy(*inputs)

  monkeypatch.setattr(agent_lib, "make_policy", counted)
  sac = SacSettings(hidden=(4, 3))  # no other test's
  results = [
    evaluate_policies(
      DivergingEnv(), SteadyReward(), init_agent(jax.random.key(i), 5, 2, sac).actor,
      dataclasses.replace(sac), 3, [0],
    )
    for i in range(2)
  ]  # fmt: skip
  assert results[0] == results[1]
  assert traced == [(2, sac, True)]


def test_no_encoder_yet_is_one_sentence(tmp_path, prepared):
  (tmp_path / "videos").symlink_to(prepared / "videos")
  with pytest.raises(UserError, match="run launch.finetune with this config and workdir first"):
    train_policy(config_of(), tmp_path)
