"""Learning from some arms and judging on another: combinations, a tiny run, its pictures."""

from __future__ import annotations

import numpy as np
import pytest

from configs import cross_embodiment as config_file
from configs import demo
from tests.report.test_page import Page
from vipjax.experiments import cross_embodiment as cross
from vipjax.experiments import cross_pictures as report
from vipjax.runtime.errors import UserError
from vipjax.stages.inputs import load_videos
from vipjax.stages.task import filled
from vipjax.types import Video
from vipjax.videos import write_videos

ARMS = ("sawyer", "panda", "jaco")


def config_of(**overrides):
  config = config_file.get_config()
  config.update_from_flattened_dict({
    "encoder.init": "scratch", "encoder.width": 8, "encoder.embedding_dim": 8, "encoder.size": 16,
    "encoder.resize": 16, "finetune.steps": 2, "finetune.batch_size": 2, "finetune.tcc.frames": 3,
    "evaluate.attention_episodes": 0, "cross.arms": ARMS[:2], "cross.seeds": (0, 1),
    "cross.robot_free": (True,), "cross.policies": (), **overrides,
  })  # fmt: skip
  return config


def test_six_pairs_and_three_splits():
  every = cross.cells(config_file.get_config().cross)
  splits = {(cell.learnt_from, cell.target) for cell in every}
  assert len(every) == 9 * 2 * 2 * 3 and len(splits) == 9
  assert sum(len(sources) == 2 for sources, _ in splits) == 3
  assert all(target not in sources for sources, target in splits)
  # Targets that learn from the same videos share a fine-tuning.
  assert len({cell.encoder_name for cell in every}) == 6 * 2 * 2 * 3


def test_the_quick_preset_asks_the_same_with_less():
  full, quick = config_file.get_config(), config_file.get_config("quick")
  assert quick.cross == full.cross
  # As the file's first lines say.
  steps = filled(demo.get_config()).finetune.steps
  assert full.finetune.steps == 2 * steps == 8 * quick.finetune.steps
  assert full.finetune.batch_size == 2 * quick.finetune.batch_size
  with pytest.raises(UserError, match="expected no preset or 'quick', got 'slow'"):
    config_file.get_config("slow")


@pytest.mark.parametrize("preset", ["", "quick"])
def test_every_cell_is_what_its_name_says(preset):
  config = config_file.get_config(preset)
  assert config.record.robot_free
  for cell in cross.cells(config.cross):
    arms, loss, videos, seed = cell.encoder_name.split("_")
    made = cross._tuned(config, cell)
    assert tuple(arms.split("+")) == cell.learnt_from and made.env.robot == cell.target
    assert made.finetune.tcc.weight == {"tcc": 1, "vip": 0}[loss]
    # What is learnt from is chosen from the arms' videos by `robot_free`.
    assert cell.robot_free == (videos == "free")
    assert made.reward.robot_free_weight == {"free": 2, "plain": 0}[videos]
    assert f"seed{made.seed}" == seed


@pytest.mark.parametrize(
  "option, key, none",
  [("tcc", "finetune.tcc.weight", 0.0), ("robot_free", "record.robot_free", False)],
)
def test_a_name_that_would_say_what_is_not_done_is_refused(option, key, none, tmp_path):
  config = config_of(**{f"cross.{option}": (False, True), key: none})
  with pytest.raises(UserError, match=f"expected config.{key}, .* config.cross.{option}"):
    cross.judge_cells(config, tmp_path, [])
  assert not list(tmp_path.iterdir())


def test_the_first_seed_is_whole_before_the_second():
  seeds = [cell.seed for cell in cross.cells(config_file.get_config().cross)]
  assert seeds == sorted(seeds)


def test_two_policies_for_each_arm():
  settings = config_file.get_config().cross
  wanted = [cell for cell in cross.cells(settings) if cross._wants_policy(settings, cell)]
  assert sorted(cell.target for cell in wanted) == sorted(ARMS * 2)
  assert all(len(cell.learnt_from) == 2 and cell.tcc and cell.seed == 0 for cell in wanted)
  assert [cell.robot_free for cell in wanted] == [True] * 3 + [False] * 3
  two = config_of(**{"cross.policies": ARMS[:2]}).cross
  wanted = [cell for cell in cross.cells(two) if cross._wants_policy(two, cell)]
  assert [(cell.learnt_from, cell.target) for cell in wanted] == [
    (("sawyer",), "panda"),
    (("panda",), "sawyer"),
  ]


@pytest.mark.parametrize("arms", [("sawyer",), ("sawyer", "sawyer")])
def test_too_few_arms(arms):
  with pytest.raises(UserError, match="expected two different arms or more in config.cross.arms"):
    cross.cells(config_of(**{"cross.arms": arms}).cross)


def film(arm, view, visible):
  """A square of the arm's colour that moves."""
  frames = np.full((6, 24, 24, 3), 40, np.uint8)
  for t in range(6):
    frames[t, 8:16, 2 * t : 2 * t + 6] = (80 + 60 * ARMS.index(arm)) if visible else 20
  return Video(
    frames, 10.0, view=view, robot_visible=visible, episode=0, success=True, source=f"{arm} {view}"
  )


def pretend_to_record(config, folder):
  arm = config.env.robot
  if not folder.exists():
    views = [(view, visible) for view in ("front", "side") for visible in (True, False)]
    write_videos(folder / "videos", [film(arm, *each) for each in views])
    write_videos(folder / "unseen", [film(arm, view, True) for view in ("front", "side")])


@pytest.fixture
def recorded(monkeypatch):
  monkeypatch.setattr(cross, "record", pretend_to_record)


def test_a_tiny_run_goes_on_where_it_stopped(one_block, recorded, tmp_path, monkeypatch):
  config = config_of(**{"cross.seeds": (0,)})
  wanted = cross.cells(config.cross)
  rows = cross.judge_cells(config, tmp_path, wanted)
  assert len(rows) == 2 * 2
  for row in rows:
    assert -1 <= row["rank_correlation"] <= 1 and -1 <= row["rank_correlation_theirs_before"] <= 1
    assert -1 <= row["tau"] <= 1
  names = {path.name for path in (tmp_path / "encoders").iterdir()}
  assert names == {f"{arm}_{kind}_free_seed0" for arm in ARMS[:2] for kind in ("tcc", "vip")}
  # Judged cells are not judged again, and without policies the rows stay as they are.
  monkeypatch.setattr(cross, "finetune", None)
  assert cross.judge_cells(config, tmp_path, wanted) == rows
  assert cross.train_policies(config, tmp_path) == rows

  text = report.write_pictures(rows, tmp_path)
  assert (tmp_path / "table.md").read_text() == text + "\n"
  assert len(text.splitlines()) == 2 + 4
  pictures = {path.name for path in tmp_path.glob("*.png")}
  assert pictures == {"matrix.png", "aligned_sawyer_panda.png", "aligned_panda_sawyer.png"}
  page = Page((tmp_path / "cross_embodiment.html").read_text(encoding="utf-8"))
  assert "What other arms teach" in page.text and len(page.all("img")) == 2


def test_what_is_learnt_from(recorded, tmp_path, monkeypatch):
  taught = {}

  def pretend_to_finetune(config, run):
    taught[run.name] = config.finetune.tcc.weight, config.reward.robot_free_weight, config.seed
    raise KeyboardInterrupt

  monkeypatch.setattr(cross, "finetune", pretend_to_finetune)
  config = config_of(**{"cross.arms": ARMS, "cross.robot_free": (False,), "cross.tcc": (False,)})
  for cell in cross.cells(config.cross):
    with pytest.raises(KeyboardInterrupt):
      for arm in ARMS:
        pretend_to_record(cross._of_arm(config, arm), tmp_path / "arms" / arm)
      cross._judge(config, tmp_path, cell)
  assert taught["sawyer+jaco_vip_plain_seed1"] == (0.0, 0.0, 1)
  folder = tmp_path / "encoders" / "sawyer+jaco_vip_plain_seed1"
  videos = load_videos(config, folder)
  assert len(videos) == 4 and all(video.robot_visible for video in videos)
  assert {path.name for path in (folder / "videos").iterdir()} == {"sawyer", "jaco"}


def test_policies_are_added_to_the_rows_once(tmp_path, monkeypatch):
  config = config_of(**{"cross.policies": ("panda",)})
  rows = [cross.files.jsonable(vars(cell)) for cell in cross.cells(config.cross)]
  cross.files.write_json(tmp_path / cross.FILE, {"cells": rows})
  trained = []

  def pretend_to_train(config, run, source):
    assert source == tmp_path / "encoders" / "sawyer_tcc_free_seed0"
    trained.append((config.env.robot, config.seed, run.name))
    return {"policy_success": 0.75}

  monkeypatch.setattr(cross, "train_policy", pretend_to_train)
  for _ in range(2):
    rows = cross.train_policies(config, tmp_path)
  assert trained == [("panda", 0, "sawyer_tcc_free_seed0_on_panda")]
  (row,) = [row for row in rows if "policy_success" in row]
  assert row["policy_success"] == 0.75
  assert (row["learnt_from"], row["target"], row["tcc"]) == (["sawyer"], "panda", True)


def row_of(learnt_from, target, seed, number, **more):
  measures = {"rank_correlation": number, "rank_correlation_theirs": number / 2}
  row = {"learnt_from": learnt_from, "target": target, "tcc": True, "robot_free": True}
  return {**row, "seed": seed, **measures, "tau": None, **more}


def test_the_table():
  rows = [
    row_of(["sawyer"], "panda", 0, 0.5, policy_success=0.25),
    row_of(["sawyer"], "panda", 1, 0.7),
    row_of(["sawyer", "panda"], "jaco", 0, 0.9),
  ]
  lines = report.table(rows).splitlines()
  assert lines[0].startswith("| learnt from | judged on | TCC | robot-free | seeds | rank corr")
  assert lines[2] == (
    "| sawyer | panda | yes | yes | 2 | 0.60 (0.50 to 0.70) | 0.30 (0.25 to 0.35) | - | - | - | - "
    "| - | - | 0.25 |"
  )
  assert lines[3].startswith("| sawyer+panda | jaco | yes | yes | 1 | 0.90 | 0.45 | - ")
  (before, after), (_, theirs) = report.matrix_charts(rows)
  assert before.title == "before fine-tuning"
  assert not np.isfinite(before.traces[0]["z"]).any()
  (trace,) = after.traces
  assert (trace["x"], trace["y"]) == (["jaco", "panda"], ["sawyer", "sawyer+panda"])
  np.testing.assert_allclose(trace["z"], [[np.nan, 0.6], [0.9, np.nan]])
  np.testing.assert_allclose(theirs.traces[0]["z"], [[np.nan, 0.3], [0.45, np.nan]])


def test_the_summary():
  plain = {"robot_free": False, "rank_correlation_before": 0.6, "object_over_area": 1.5}
  rows = [
    row_of(["sawyer"], "panda", 0, 0.5, **plain),
    row_of(["sawyer"], "panda", 1, 0.7, **plain),
    row_of(["sawyer"], "panda", 0, 0.9, rank_correlation_before=0.3),
  ]
  header, lines = report._summary(rows)
  assert header[:6] == [
    "fine-tuned", "cells", "ρ, own goal", "better", "ρ, goal of arms learnt from", "better",
  ]  # fmt: skip
  assert [line[:5] for line in lines] == [
    ["not at all", "3", "0.50", "", "-"],
    ["TCC, robot-free too", "1", "0.90", "1", "0.45"],
    ["TCC, robot only", "2", "0.60", "1", "0.30"],
  ]
  assert lines[2][header.index("object over area")] == "1.50"
  assert all(len(line) == len(header) for line in lines)
