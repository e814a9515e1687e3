"""The encoder learns beside the policy: new rewards, exact resume, and bad input."""

import jax
import numpy as np
import pytest

from tests.sac.test_train import (
  assert_same_run,
  config_of,
  interrupt,
  policy_rows,
  prepared,  # noqa: F401 (a fixture)
  stopping,
  workdir,  # noqa: F401
)
from vipjax import encoder
from vipjax.envs import Channel, FrameVectorEnv
from vipjax.finetune import load_videos, make_settings
from vipjax.runtime.errors import UserError
from vipjax.sac import (
  LoopSettings,
  SacSettings,
  agent_options,
  init_agent,
  init_loop,
  learn,
  make_reward,
  train_policy,
)
from vipjax.sac import train as train_lib
from vipjax.sac.online import OnlineSettings, OnlineTraining, filmed
from vipjax.scene import View

ONLINE = {
  "policy.steps": 80, "policy.eval_every": 16, "policy.checkpoint_every": 16,
  "policy.online.every": 24, "policy.online.steps": 2, "policy.online.clips": 4,
  "policy.online.recent": 2, "policy.online.best": 1, "finetune.batch_size": 4,
}  # fmt: skip


def started(folder, frozen=False, frames_mb=64):
  """The loop of a tiny run with the encoder's training beside it."""
  config = config_of(**ONLINE)
  value, videos = encoder.load(folder), load_videos(config, folder)
  reward, channels, size = make_reward(config, value, videos)
  seen = filmed(channels)
  env = FrameVectorEnv(agent_options(config), 2, seen, size)
  if frozen:
    config.finetune.train_batch_norm = False
  # Below float32's resolution: an update that changes nothing.
  rate = 1e-30 if frozen else 1e-2
  online = OnlineTraining(
    OnlineSettings(24, 2, rate, 4, 2, 1, frames_mb), make_settings(config.finetune),
    jax.random.key(0), value, videos, folder / "frames.bin", (2, len(seen), size, size, 3), 80,
    env.horizon, 0,
  )  # fmt: skip
  sac = SacSettings(hidden=(16, 16), batch_size=8)
  agent = init_agent(jax.random.key(1), env.observation_space.shape[0], 8, sac)
  state = init_loop(jax.random.key(2), agent, online.capacity, env)
  loop = LoopSettings(updates_per_step=1, warmup_steps=4)
  return env, online, reward, learn(env, reward, state, sac, loop, seed=3)


def play(online, ticks, steps):
  for _ in range(steps):
    tick = next(ticks)
    online.see(tick)
  return tick


def test_with_an_encoder_that_stays_the_rewards_stay_to_the_bit(workdir):  # noqa: F811
  env, online, reward, ticks = started(workdir, frozen=True)
  with env, online:
    tick = play(online, ticks, 23)  # two episodes of 10 steps each, and three steps
    assert online.due(44, 48)
    state, _, metrics = online.learn(tick.state, reward)
    np.testing.assert_array_equal(
      state.replay.transitions.reward, np.asarray(tick.state.replay.transitions.reward)
    )
    assert np.count_nonzero(state.replay.transitions.reward) > 40  # a picture may stay the same
    np.testing.assert_array_equal(state.potential, tick.state.potential)
    np.testing.assert_allclose(state.returns, tick.state.returns, atol=1e-6)
    assert metrics["online_reward_correlation"] == pytest.approx(1.0)
    ticks.close()


def test_new_rewards_are_those_of_the_new_encoder(workdir):  # noqa: F811
  env, online, reward, ticks = started(workdir)
  with env, online:
    tick = play(online, ticks, 23)
    old = np.array(tick.state.replay.transitions.reward)
    state, changed, metrics = online.learn(tick.state, reward)
    assert online.updates == 2 and np.isfinite(metrics["online_loss"])
    assert metrics["online_reward_correlation"] < 0.999
    new = np.asarray(state.replay.transitions.reward)
    assert not np.allclose(new[:46], old[:46])
    # The second episode of environment 1, seen as a video.
    (episode,) = [e for e in online.frames.episodes() if (e.env, e.first) == (1, 10)]
    video = online.frames.video(episode)[: reward.num_channels]
    potential, _ = changed.potential(video.swapaxes(0, 1))
    steps = np.arange(episode.first, episode.last + 1)
    np.testing.assert_allclose(
      new[2 * steps + 1], changed.reward(potential[:-1], potential[1:]), atol=1e-5
    )
    # The loop goes on with it.
    tick = ticks.send((state, changed))
    assert int(tick.state.env_steps) == 48
    frames = tick.step.frames[:, : reward.num_channels]
    np.testing.assert_allclose(tick.state.potential, changed.potential(frames)[0], atol=1e-6)
    ticks.close()


def test_interrupted_it_goes_on_as_if_nothing_had_happened(workdir, tmp_path, monkeypatch):  # noqa: F811
  whole = tmp_path / "whole"
  whole.mkdir()
  for name in ("videos", "encoder"):
    (whole / name).symlink_to(workdir / name)
  result = train_policy(config_of(**ONLINE), whole)
  # At 24, after one episode of each environment, at 48 and at 72.
  assert result["encoder_updates"] == 6
  rows = [row for row in policy_rows(whole) if "online_loss" in row]
  assert [row["step"] for row in rows] == [24, 48, 72]
  assert {"online_tcc_loss", "online_vip_loss", "online_reward_correlation"} <= set(rows[0])
  value, before = encoder.load(whole / "policy" / "encoder"), encoder.load(whole)
  leaves = zip(jax.tree.leaves(value.variables), jax.tree.leaves(before.variables), strict=True)
  assert any((np.asarray(a) != np.asarray(b)).any() for a, b in leaves)
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


def test_without_it_no_frames_are_kept(workdir):  # noqa: F811
  result = train_policy(config_of(), workdir)
  assert "encoder_updates" not in result
  assert sorted(path.name for path in (workdir / "policy").iterdir()) == [
    "actor.json", "actor.safetensors", "final.mp4", "goal0.png", "goal1.png", "goals.json",
  ]  # fmt: skip


def test_every_view_is_filmed_with_and_without_the_robot():
  one, other = View(azimuth=10.0), View(azimuth=20.0)
  found = filmed([Channel(one, False), Channel(other, True), Channel(other, False)])
  assert found == [
    Channel(one, False), Channel(other, True), Channel(other, False), Channel(one, True),
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"every": -1}, "online.every of at least 0"),
    ({"steps": 0}, "online.steps of at least 1"),
    ({"learning_rate": 0.0}, "learning_rate above 0"),
    ({"clips": 0, "best": 0}, "set one of them"),
    ({"frames_mb": 0}, "frames_mb of at least 1"),
  ],
)
def test_bad_settings_are_one_sentence(workdir, changes, sentence):  # noqa: F811
  config = config_of(**ONLINE)
  config.policy.online.update(changes)
  with pytest.raises(UserError, match=sentence):
    train_policy(config, workdir)


def test_a_file_too_small_for_the_episodes_is_told_at_once(workdir):  # noqa: F811
  config = config_of(**ONLINE, **{"record.size": 24})
  config.policy.online.update({"recent": 9000, "frames_mb": 1})
  with pytest.raises(UserError, match=r"frames_mb of at least \d+ for 9000 episodes"):
    train_policy(config, workdir)
