"""The evaluate stage on a small run folder, with everything on."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from configs import demo
from tests.encoder.seeded import SMALL
from vipjax import encoder, evaluation
from vipjax.encoder import Head, Preprocessing, goal_distances, init_value
from vipjax.encoder.progress import init_head
from vipjax.evaluation import measure_groups, statistics
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.sac import SacSettings, init_agent
from vipjax.sac.actor_file import save_actor
from vipjax.scene import ROBOTS
from vipjax.stages.evaluate import evaluate, write_hack_price, write_off_path
from vipjax.stages.inputs import load_videos
from vipjax.stages.put_back import film_put_back
from vipjax.stages.record import record
from vipjax.stages.rollouts import roll_out
from vipjax.stages.task import fit_to_task
from vipjax.types import Video
from vipjax.videos import read_image, read_videos


@pytest.fixture(scope="module")
def config():
  config = demo.get_config()
  config.record.size = 32
  config.record.frame_stride = 8
  config.record.random_episodes = 1
  config.env.horizon = 100
  config.evaluate.unseen_episodes = 1
  config.evaluate.attention_episodes = 1
  config.evaluate.off_path_episodes = 1
  config.evaluate.failed_episodes = 1
  config.evaluate.view_shift = 20.0
  return config


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
  """A run folder as fine-tuning and the policy stage leave it, and what evaluate returns."""
  workdir = run_folder.open_run(tmp_path_factory.mktemp("run") / "run", config)
  record(config, workdir)
  for number, name in enumerate(("encoder_before", "encoder")):
    value = init_value(jax.random.key(number), SMALL, Preprocessing(32, 32))
    if name == "encoder":
      head = init_head(16)
      head["kernel"][:] = np.random.default_rng(0).normal(size=head["kernel"].shape)
      value = value.replace(variables={**value.variables, "progress": head}, head=Head("mrn"))
    encoder.save(workdir / name, value)
  sac = SacSettings(hidden=(8,))
  save_actor(workdir / "policy", init_agent(jax.random.key(0), 51, 8, sac).actor, sac, 8)
  return workdir, evaluate(config, workdir)


def test_results_of_every_group(run):
  workdir, result = run
  groups = {"recorded", "robot_free", "unseen", "unseen_views", "failed"}
  assert groups == {
    key.removeprefix("rank_correlation_")
    for key in result
    if key.startswith("rank_correlation_") and not key.endswith("_before")
  }
  assert {video.success for video in read_videos(workdir / "failed")} == {False}
  assert result["remaining_failed"] > 0 and "remaining_failed_before" in result
  for key in ("kendall_correlation_unseen", "falling_fraction_recorded", "alignment_recorded"):
    assert -1 <= result[key] <= 1 and f"{key}_before" in result
  # The encoder of before has a distance without direction.
  for key in ("asymmetry_unseen", "steps_correlation_backward_recorded", "steps_slope_unseen"):
    assert -1 <= result[key] != 0 and f"{key}_before" not in result
  assert set(result["attention"]) == {
    "stage4", "stage2", "stage4_before", "stage2_before", "occlusion", "agreement",
  }  # fmt: skip
  assert result["attention"]["occlusion"]["robot"] > 0
  assert set(result["off_path"]) == {
    "reward",
    "front",
    "front, robot-free",
    "front, progress",
    "front, robot-free, progress",
    "hacked",
    "hacked_policy",
  }
  assert -1 <= result["off_path"]["reward"]["progress"] <= 1


def test_numbers_are_those_of_the_library(run):
  workdir, result = run
  value = encoder.load(workdir)
  recorded = [v for v in read_videos(workdir / "videos") if v.robot_visible]
  curves = evaluation.distance_curves(value, recorded)
  mean = np.mean([curve.rank_correlation for curve in curves])
  assert result["rank_correlation_recorded"] == pytest.approx(mean, abs=1e-6)
  embedded = [value.embed(video.frames) for video in recorded]
  tau = evaluation.align(embedded, evaluation.video_names(recorded))["tau"]
  assert result["alignment_recorded"] == pytest.approx(tau, abs=1e-6)


def test_unseen_views_are_turned(run, config):
  workdir, _ = run
  turned, seen = (read_videos(workdir / name) for name in ("unseen_views", "unseen"))
  assert [video.view for video in turned] == ["front turned by 20", "side turned by 20"]
  assert turned[0].frames.shape == seen[0].frames.shape
  assert (turned[0].frames[0] != seen[0].frames[0]).mean() > 0.1


def test_other_robots_are_filmed_only_where_asked(run, config, monkeypatch, tmp_path):
  assert not (run[0] / "other_robots").exists()
  workdir = shutil.copytree(run[0], tmp_path / "copy")
  # The same arm under another name: real ones are fetched.
  monkeypatch.setitem(ROBOTS, "twin", dataclasses.replace(ROBOTS["sawyer"], name="twin"))
  more = config.copy_and_resolve_references()
  more.evaluate.attention_episodes = more.evaluate.off_path_episodes = 0
  more.evaluate.robots = ("twin",)
  result = evaluate(more, workdir, again=True)
  videos = read_videos(workdir / "other_robots")
  assert [(video.embodiment, video.view) for video in videos] == [
    ("twin", "front twin"), ("twin", "side twin"),
  ]  # fmt: skip
  assert all(video.success for video in videos)
  assert -1 <= result["rank_correlation_other_robots"] <= 1


def test_files_hold_every_frame_and_state(run):
  workdir, result = run
  written = json.loads((workdir / "attention" / "attention.json").read_text())
  assert [each["when"] for each in written["videos"]] == ["after", "before"] * 2
  first = written["videos"][0]
  frames = len(first["distance"])
  assert {len(first["stages"]["stage2"][key]) for key in ("share", "area", "peak")} == {frames}
  assert len(first["occlusion"]["robot_removed"]) == frames
  (film,) = read_videos(workdir / "attention" / first["film"])
  assert film.frames.shape == (frames, 32, 96, 3)
  off = json.loads((workdir / "off_path" / "off_path.json").read_text())
  kinds = off["states"]["kind"]
  assert list(dict.fromkeys(kinds)) == ["perturbed", "abandoned", "random", "policy"]
  assert len(off["states"]["potentials"]["reward"]) == len(kinds) > 40
  hack = off["hacks"][0]
  assert hack["gap"] > 0 and (workdir / "off_path" / hack["file"]).is_file()
  # The states' own rank order says the same.
  assert off["correlations"]["reward"]["progress"] == result["off_path"]["reward"]["progress"]


def test_the_hack_price_is_that_of_the_drawn_states(run, config):
  workdir, result = run
  made = json.loads((workdir / "hack_price" / "hack_price.json").read_text())
  (episode,) = film_put_back(fit_to_task(config, workdir))
  value = encoder.load(workdir)
  left = {}
  for name, frames in episode.frames.items():
    start, _, end = value.distance(frames, frames[1])
    left[name] = end / start
  plain, free = ([left[view, visible] for view in ("front", "side")] for visible in (True, False))
  assert result["hack_price"] == pytest.approx(np.mean(plain), rel=1e-4)
  assert result["hack_price_robot_free"] == pytest.approx(1.0, rel=1e-4)
  # The demo's reward sees one view, each picture as a share, the robot-free one twice.
  assert result["hack_price_reward"] == pytest.approx((plain[0] + 2 * free[0]) / 3, rel=1e-4)
  assert result["hack_price_before"] == made["before"]["hack_price"] != result["hack_price"]
  worth = made["after"]["worth"]
  assert (worth["discount"], worth["horizon"]) == (0.97, 33)
  assert worth["success_after"] == round(episode.steps / 3)
  assert result["worth_pose"] == worth["worth_pose"] < 1 - result["hack_price_reward"]
  shown = read_image(workdir / "hack_price" / "front_put_back.png")
  np.testing.assert_array_equal(shown, episode.frames["front", True][2])


def test_own_videos_have_no_hack_price(config):
  own = config.copy_and_resolve_references()
  own.data.path = "somewhere"
  assert write_hack_price(own, {}, None) == {}


def test_the_reward_potential_is_that_of_the_policy(run, config):
  off = json.loads((run[0] / "off_path" / "off_path.json").read_text())
  potentials = {key: np.array(each) for key, each in off["states"]["potentials"].items()}
  # Each channel divided by its first distance, the robot-free one twice: a fixed mixture.
  columns = np.stack([potentials["front"], potentials["front, robot-free"]], 1)
  weights, residual, *_ = np.linalg.lstsq(columns, potentials["reward"], rcond=None)
  np.testing.assert_allclose(columns @ weights, potentials["reward"], rtol=1e-3)
  assert (weights > 0).all()


def test_progress_is_measured_where_the_encoder_has_a_head(run, config):
  workdir, result = run
  value, videos = encoder.load(workdir), read_videos(workdir / "unseen")
  wanted = [
    statistics.spearman(np.append(0, np.cumsum(value.progress(f[:-1], f[1:]))), np.arange(len(f)))
    for f in (video.frames for video in videos)
  ]
  assert result["progress_correlation_unseen"] == pytest.approx(np.mean(wanted), abs=0.02)
  assert "progress_correlation_recorded" in result
  assert "progress_correlation_unseen_before" not in result
  # Off the path: the sum of what was paid since the rollout's start, with weights 1 and 2.
  paying = fit_to_task(config, workdir).copy_and_resolve_references()
  paying.reward.form = "progress"
  recorded = load_videos(paying, workdir)
  rollouts = roll_out(paying, workdir, recorded)
  write_off_path(paying, value, recorded, rollouts, workdir / "off_path_progress")
  off = json.loads((workdir / "off_path_progress" / "off_path.json").read_text())["states"]
  sums = {key: np.array(each) for key, each in off["potentials"].items()}
  mixed = sums["front, progress"] + 2 * sums["front, robot-free, progress"]
  np.testing.assert_allclose(sums["reward"], 10 * mixed, atol=1e-4)
  starts = np.flatnonzero(np.diff(off["rollout"], prepend=-1))
  np.testing.assert_array_equal(sums["reward"][starts], 0.0)
  assert np.abs(sums["reward"]).max() > 0.1


def test_it_is_measured_once_unless_asked_again(run, config, tmp_path):
  result = run[1]
  workdir = shutil.copytree(run[0], tmp_path / "copy")
  before = (workdir / "evaluation.json").stat().st_mtime_ns
  assert evaluate(config, workdir) == result
  assert (workdir / "evaluation.json").stat().st_mtime_ns == before
  less = config.copy_and_resolve_references()
  less.evaluate.attention_episodes = less.evaluate.off_path_episodes = 0
  again = evaluate(less, workdir, again=True)
  assert "off_path" not in again
  for key, number in again.items():
    assert number == pytest.approx(result[key])


def test_failed_videos_are_measured_to_goals_of_successful_ones():
  class Level:
    distances = staticmethod(goal_distances)

    def embed(self, frames):
      return np.asarray(frames, np.float32).mean((1, 2, 3))[:, None]

  def grey(*levels):
    frames = np.zeros((len(levels), 2, 2, 3), np.uint8)
    return Video(frames + np.array(levels, np.uint8)[:, None, None, None])

  groups = {"recorded": [grey(0, 5, 10), grey(0, 6, 30)], "failed": [grey(0, 40)]}
  curves, alignment = measure_groups(Level(), groups)
  np.testing.assert_array_equal(curves["failed"][0].distances, [20, 20])
  np.testing.assert_array_equal(curves["recorded"][1].distances, [30, 24, 0])
  assert set(alignment) == {"recorded"}


def test_evaluate_needs_an_encoder(config, tmp_path):
  with pytest.raises(UserError, match="run launch.finetune"):
    evaluate(config, tmp_path)
