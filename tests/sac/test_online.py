"""The encoder learns beside the policy: new rewards, exact resume, and bad input."""

import dataclasses
import re

import chex
import jax
import numpy as np
import pytest

from tests.reward.of_config import make_reward
from tests.stages.test_train_policy import (
  assert_same_run,
  config_of,
  interrupt,
  policy_rows,
  prepared,  # noqa: F401 (a fixture)
  stopping,
  workdir,  # noqa: F401
)
from vipjax import encoder
from vipjax.encoder.progress import init_head
from vipjax.envs import FrameVectorEnv
from vipjax.runtime.errors import UserError
from vipjax.sac import LoopSettings, SacSettings, init_agent, init_loop, train_loop
from vipjax.sac.frame_replay import FrameReplay
from vipjax.sac.online import OnlineTraining
from vipjax.sac.online_settings import FrameBudget, OnlineSettings, plan_frame_budget
from vipjax.sac.own_films import filmed, rows_showing
from vipjax.stages import training as train_lib
from vipjax.stages.agent import make_online, policy_views
from vipjax.stages.filming import agent_options
from vipjax.stages.inputs import load_videos, make_settings
from vipjax.stages.task import fit_to_task
from vipjax.stages.train_policy import train_policy

ONLINE = {
  "policy.steps": 80, "policy.eval_every": 16, "policy.checkpoint_every": 16,
  "policy.online.every": 24, "policy.online.steps": 2, "policy.online.clips": 4,
  "policy.online.recent": 2, "policy.online.best": 1, "policy.online.contrast": 1.0,
  "finetune.batch_size": 4,
  "policy.replay_capacity": 44,
}  # fmt: skip


def started(folder, frozen=False, replay=80, form="difference", clips=4):
  """The loop of a tiny run with the encoder's training beside it."""
  progress = {"finetune.progress.weight": float(form == "progress"), "finetune.progress.pairs": 4}
  config = fit_to_task(config_of(**ONLINE, **{"reward.form": form}, **progress), folder)
  value, videos = encoder.load(folder), load_videos(config, folder)
  if form == "progress":
    head = init_head(value.config.embedding_dim)
    head["kernel"][:] = np.random.default_rng(0).normal(size=head["kernel"].shape)
    value = value.replace(variables={**value.variables, "progress": head})
  reward, channels, size = make_reward(config, value, videos)
  seen = filmed(channels)
  env = FrameVectorEnv(agent_options(config), 2, seen, size, num_workers=0)
  if frozen:
    config.finetune.train_batch_norm = False
  # Below float32's resolution: an update that changes nothing.
  rate = 1e-30 if frozen else 1e-2
  settings = OnlineSettings(24, 2, rate, clips, 2, 1, frames_mb=64)
  row = (2, len(seen), size, size, 3)
  budget = plan_frame_budget(settings, row, env.horizon, replay, 80, 0)
  online = OnlineTraining(
    settings, make_settings(config.finetune), 2, jax.random.key(0), value, videos,
    FrameReplay(folder / f"{form}.bin", row, *budget), env.horizon, seen,
    rows_showing(seen, policy_views(config), videos),
  )  # fmt: skip
  sac = SacSettings(hidden=(16, 16), batch_size=8)
  agent = init_agent(jax.random.key(1), env.observation_space.shape[0], 8, sac)
  state = init_loop(jax.random.key(2), agent, 2 * budget.steps, env, reward.state_shape)
  loop = LoopSettings(updates_per_step=1, warmup_steps=4)
  return env, online, reward, train_loop(env, reward, state, sac, loop, seed=3)


def play(online, loop_steps, steps):
  for _ in range(steps):
    loop_step = next(loop_steps)
    online.see(loop_step)
  return loop_step


def test_with_an_encoder_that_stays_the_rewards_stay_to_the_bit(workdir):  # noqa: F811
  env, online, reward, loop_steps = started(workdir, frozen=True)
  with env, online:
    loop_step = play(online, loop_steps, 23)  # two episodes of 10 steps each, and three steps
    assert online.due(44, 48)
    state, _, metrics = online.learn(loop_step.state, reward)
    np.testing.assert_array_equal(
      state.replay.transitions.reward, np.asarray(loop_step.state.replay.transitions.reward)
    )
    assert np.count_nonzero(state.replay.transitions.reward) > 40  # a picture may stay the same
    np.testing.assert_array_equal(state.potential, loop_step.state.potential)
    np.testing.assert_allclose(state.returns, loop_step.state.returns, atol=1e-6)
    assert metrics["online_reward_correlation"] == pytest.approx(1.0)
    loop_steps.close()


@pytest.mark.parametrize("form", ["discounted", "value", "progress"])
def test_new_rewards_are_those_of_the_new_encoder(workdir, form):  # noqa: F811
  # 20 steps are remembered, so that the replay and the file have wrapped by the 33rd.
  env, online, reward, loop_steps = started(workdir, replay=40, form=form)
  with env, online:
    loop_step = play(online, loop_steps, 33)
    assert loop_step.state.replay.transitions.reward.shape == (40,)
    old = np.array(loop_step.state.replay.transitions.reward)
    state, changed, metrics = online.learn(loop_step.state, reward)
    assert online.updates == 2 and np.isfinite(metrics["online_loss"])
    new = np.asarray(state.replay.transitions.reward)
    assert not np.allclose(new, old, atol=1e-3)
    # The whole episode that is remembered, of environment 1, seen as a video.
    (episode,) = [each for each in online.frames.episodes() if each.env == 1]
    assert (episode.first, episode.last) == (20, 29)
    video = online.frames.video(episode)[: reward.num_channels]
    states, _ = changed.state(video.swapaxes(0, 1))
    steps = np.arange(episode.first, episode.last + 1)
    # The same frames in batches of another size: float32 adds them up in another order, which moves
    # a distance by about 1e-6 of itself; a reward is one or a difference of two, times the scale.
    expected = changed.reward(states[:-1], states[1:])
    atol = 1e-5 * changed.settings.scale * max(1.0, np.abs(states).max())
    np.testing.assert_allclose(new[(2 * steps + 1) % 40], expected, rtol=0, atol=atol)
    # The loop goes on with it.
    loop_step = loop_steps.send((state, changed))
    assert int(loop_step.state.env_steps) == 68
    frames = loop_step.step.frames[:, : reward.num_channels]
    np.testing.assert_allclose(
      loop_step.state.potential, changed.state(frames)[0], rtol=1e-5, atol=1e-5
    )
    loop_steps.close()


def test_interrupted_it_goes_on_as_if_nothing_had_happened(workdir, tmp_path, monkeypatch):  # noqa: F811
  whole = tmp_path / "whole"
  whole.mkdir()
  for name in ("videos", "encoder"):
    (whole / name).symlink_to(workdir / name)
  result = train_policy(config_of(**ONLINE), whole)
  # Without workers, which start for two seconds and change nothing.
  monkeypatch.setattr("vipjax.envs.vector.usable_cores", lambda: 0)
  # At 24, after one episode of each environment, at 48 and at 72.
  assert result["encoder_updates"] == 6
  rows = [row for row in policy_rows(whole) if "online_loss" in row]
  assert [row["step"] for row in rows] == [24, 48, 72]
  assert {"online_tcc_loss", "online_vip_loss", "online_reward_correlation"} <= set(rows[0])
  assert {"online_joined", "online_failures", "online_contrast_loss"} <= set(rows[0])
  value, before = encoder.load(whole / "policy" / "encoder"), encoder.load(whole)
  with pytest.raises(AssertionError, match="differ in leaves"):
    chex.assert_trees_all_equal(value.variables, before.variables)
  assert not (whole / "policy" / "own_frames.bin").exists()

  for at in (30, 60):  # between saving at 16 and 32; after the second time
    with monkeypatch.context() as patch:
      patch.setattr(train_lib, "Progress", stopping(at, interrupt))
      with pytest.raises(KeyboardInterrupt):
        train_policy(config_of(**ONLINE), workdir)
  train_policy(config_of(**ONLINE), workdir)
  assert_same_run(workdir, whole)
  ours, theirs = (
    (folder / "policy" / "encoder" / "model.safetensors").read_bytes()
    for folder in (workdir, whole)
  )
  assert ours == theirs


@pytest.mark.usefixtures("no_workers")
def test_without_it_no_frames_are_kept(workdir):  # noqa: F811
  result = train_policy(config_of(), workdir)
  assert "encoder_updates" not in result
  assert sorted(path.name for path in (workdir / "policy").iterdir()) == [
    "actor.json", "actor.safetensors", "final.mp4", "goal0.png", "goal1.png", "goals.json",
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"every": -1}, "online.every of at least 0"),
    ({"steps": 0}, "online.steps of at least 1"),
    ({"learning_rate": 0.0}, "learning_rate above 0"),
    ({"clips": 0, "best": 0, "contrast": 0.0}, "set one of them"),
    ({"contrast": -1.0}, "online.contrast of at least 0"),
    ({"frames_mb": 0}, "frames_mb of at least 1"),
  ],
)
@pytest.mark.usefixtures("no_workers")
def test_bad_settings_are_one_sentence(workdir, changes, sentence):  # noqa: F811
  config = config_of(**ONLINE)
  config.policy.online.update(changes)
  with pytest.raises(UserError, match=sentence):
    train_policy(config, workdir)


@pytest.mark.parametrize(
  ("megabytes", "replay", "run", "budget"),
  [
    # 1.2 rows a step, where each of 2 environments may begin anew alone every 10 steps.
    (100, 1000, 1000, FrameBudget(500, 601, 0)),  # all of it
    (100, 400, 1000, FrameBudget(200, 241, 49)),  # the replay's; the ring wraps
    (1, 1000, 1000, FrameBudget(321, 387, 49)),  # what fits of 436 rows
  ],
)
def test_frame_budget(megabytes, replay, run, budget):
  online = OnlineSettings(1, recent=3, best=0, frames_mb=megabytes)
  assert plan_frame_budget(online, (2, 1, 20, 20, 3), 10, replay, run, 80) == budget


def test_frame_budget_that_is_advised_is_enough():
  online = OnlineSettings(1, recent=9, best=0, frames_mb=1)
  row = (2, 1, 64, 64, 3)
  with pytest.raises(UserError, match="for 9 of the policy's own episodes, got 100"):
    plan_frame_budget(online, row, 10, 1000, 100, 80)
  with pytest.raises(UserError, match=r"frames_mb of at least (\d+) for 9 episodes") as error:
    plan_frame_budget(online, row, 10, 1000, 1000, 80)
  advised = int(re.search(r"at least (\d+)", str(error.value))[1])
  budget = plan_frame_budget(
    dataclasses.replace(online, frames_mb=advised), row, 10, 1000, 1000, 80
  )
  assert budget.steps >= 6 * 10  # five episodes of each, and the one that is not whole
  assert (budget.rows + budget.spare) * np.prod(row) <= advised * 2**20


@pytest.mark.usefixtures("no_workers")
def test_expectile_regression_goes_on_with_its_target(workdir):  # noqa: F811
  config = config_of(**ONLINE, **{"finetune.loss": "expectile"})
  assert train_policy(config, workdir)["encoder_updates"] == 6
  rows = [row for row in policy_rows(workdir) if "online_loss" in row]
  assert {"online_expectile_loss", "online_contrast_loss"} <= set(rows[-1])


def test_distillation_and_other_heads_have_no_online_training(workdir, tmp_path):  # noqa: F811
  value = encoder.load(workdir / "encoder").replace(head=encoder.Head("mrn"))
  config = config_of(**ONLINE)
  with pytest.raises(UserError, match="head 'l2' for config.policy.online.every .* got 'mrn'"):
    make_online(config, tmp_path / "frames", value, [], None, [], ())
  config.finetune.loss = "distillation"
  with pytest.raises(UserError, match="online training has no teachers"):
    make_online(config, tmp_path / "frames", value, [], None, [], ())


@pytest.mark.usefixtures("no_workers")
def test_a_replay_below_the_warm_up_is_told_at_once(workdir):  # noqa: F811
  config = config_of(**ONLINE)
  config.policy.update({"replay_capacity": 60, "warmup_steps": 61})
  with pytest.raises(UserError, match="as far as config.policy.online.frames_mb allows, of at"):
    train_policy(config, workdir)
