"""Variants x seeds: configs, sharing, resuming, and the page that compares them."""

import json
import re

import pytest

from configs import ablation as ablation_config
from configs import paper
from tests.report.test_page import Page
from vipjax.experiments import ablation, comparison
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError


@pytest.fixture
def config():
  config = ablation_config.get_config()
  config.ablation.seeds = (0, 1)
  config.ablation.only = ("plain", "all", "sampler_beta_2_2")
  return config


class Stages:
  """Stands in for the stages of a run: notes what it was asked to do, and leaves results."""

  def __init__(self):
    self.calls = []

  def __call__(self, config, workdir, additions, policy):
    recorded = run_folder.stage_done(workdir, "record")
    self.calls.append((workdir.parent.name, config.seed, policy, recorded))
    if not recorded:
      (workdir / "videos").mkdir()
      (workdir / "videos" / "a.mp4").write_text(f"seed {config.seed}")
      run_folder.mark_done(workdir, "record", {"videos": 4}, 2.0)
    if workdir.parent.name == "sampler_beta_2_2" and config.seed == 1:
      raise UserError("expected an encoder, got none.")
    results = {"rank_correlation_unseen": 0.5 + 0.25 * config.seed, "odd": "text"}
    if policy:
      results["policy_success"] = 1.0
    files.write_json(workdir / "results.json", results)


@pytest.fixture
def stages(monkeypatch):
  stages = Stages()
  monkeypatch.setattr(ablation, "run_stages", stages)
  return stages


def test_every_variant_of_the_config_can_be_made():
  config = ablation_config.get_config()
  made = {
    name: ablation.variant_config(config, changes, 7)
    for name, changes in config.ablation.variants.items()
  }
  assert all("ablation" not in each and each.seed == 7 for each in made.values())
  four = ("plain", "augmentation_exp", "tcc_exp", "all")
  told = [
    (made[n].record.robot_free, made[n].finetune.sampler.name, made[n].finetune.tcc.weight)
    for n in four
  ]
  assert told == [
    (False, "uniform", 0), (True, "exponential", 0), (False, "exponential", 1),
    (True, "exponential", 1),
  ]  # fmt: skip
  # The published reward in all four.
  assert {made[name].reward.robot_free_weight for name in four} == {0}
  assert set(config.ablation.policies) >= set(four)
  assert made["demo"].reward.robot_free_weight > 0
  # No two are the same.
  assert len({json.dumps(files.jsonable(each)) for each in made.values()}) == len(made)


# The sampler that each variant's name, or docs/results/ablation.md for it, speaks of.
UNIFORM = {"name": "uniform"}
EXP = {"name": "exponential", "rate": 5}
LABELS = {
  "plain": UNIFORM,
  "augmentation_exp": EXP,
  "tcc_exp": EXP,
  "all": EXP,
  "demo": UNIFORM,
  "demo_online": UNIFORM,
  "from_scratch": UNIFORM,
  "all_online": EXP,
  "all_discount_99": EXP,
  "all_discount_997": EXP,
  "all_expectile": EXP,
  "all_robot_free_reward": EXP,
  "from_vip": EXP,
  "sampler_uniform": UNIFORM,
  "sampler_beta_2_2": {"name": "beta", "a": 2, "b": 2},
  "sampler_beta_2_5": {"name": "beta", "a": 2, "b": 5},
  "sampler_prioritised": {"name": "prioritised"},
  "triplet": UNIFORM,
  "triplet_all": EXP,
  "composites": UNIFORM,
  "cycles_20_of_2": EXP,
  "cycles_20_of_4": EXP,
  "cycles_80_of_3": EXP,
}
CYCLES = re.compile(r"cycles_(\d+)_of_(\d+)")


@pytest.fixture(scope="module")
def labelled():
  """Every variant, on a config whose own parameters no name speaks of."""
  config = ablation_config.get_config()
  config.finetune.sampler.update({"rate": 9.0, "a": 9.0, "b": 9.0})
  config.finetune.tcc.update({"num_cycles": 0, "videos_per_cycle": 9})
  return {
    name: ablation.variant_config(config, changes, 0)
    for name, changes in config.ablation.variants.items()
  }


def test_every_variant_is_labelled(labelled):
  assert set(labelled) == set(LABELS)


@pytest.mark.parametrize("name", LABELS)
def test_a_variant_is_what_its_name_says(labelled, name):
  made, words = labelled[name], name.split("_")
  said = LABELS[name]
  assert {key: made.finetune.sampler[key] for key in said} == said
  cycles = CYCLES.fullmatch(name)
  k, t = map(int, cycles.groups()) if cycles else (0, 9)
  assert (made.finetune.tcc.num_cycles, made.finetune.tcc.videos_per_cycle) == (k, t)
  losses = [loss for loss in ("triplet", "expectile") if loss in words]
  assert made.finetune.loss == (losses or ["vip"])[0]
  if "discount" in words:
    assert made.policy.discount == float(f".{words[-1]}")
  assert bool(made.policy.online.every) == ("online" in words)
  made_films = made.finetune.composites
  assert bool(made_films.fixed_arms + made_films.detours) == (name == "composites")
  starts = {"from_scratch": "scratch", "from_vip": "vip-resnet50"}
  assert made.encoder.init == starts.get(name, "mini")
  only_plain = name in ("plain", "triplet")
  assert made.record.robot_free == (not only_plain and name != "tcc_exp")
  assert made.finetune.tcc.weight == (0 if only_plain or name == "augmentation_exp" else 1)
  ours = ("demo", "demo_online", "from_scratch", "all_robot_free_reward")
  assert made.reward.robot_free_weight == (2 if name in ours else 0)


def test_runs_are_shared_resumed_and_compared(config, stages, tmp_path):
  page = ablation.run_ablation(config, tmp_path, paper.additions)
  assert stages.calls == [
    ("plain", 0, True, False),  # without robot-free videos: a recording of its own
    ("all", 0, True, False),
    ("sampler_beta_2_2", 0, False, True),
    ("plain", 1, True, False),
    ("all", 1, True, False),
    ("sampler_beta_2_2", 1, False, True),
  ]
  shared = tmp_path / "sampler_beta_2_2" / "seed1"
  assert (shared / "videos" / "a.mp4").read_text() == "seed 1"
  assert run_folder.stage_result(shared, "record") == {"videos": 4}
  text = Page(page.read_text()).text
  assert "plain 0 1" in text and "0.62 [0.50, 0.75]" in text
  assert "Left out: sampler_beta_2_2, seed 1: expected an encoder, got none." in text
  header, _, *lines = (tmp_path / "table.md").read_text().splitlines()
  assert header.startswith("| variant and its runs | policy success |")
  assert lines[0].startswith("| plain (2) | 1.00 [1.00, 1.00] | 0.62 [0.50, 0.75] |")
  made = files.read_json(tmp_path / "ablation.json")["variants"]
  assert list(made) == ["plain", "all", "sampler_beta_2_2"]
  assert made["plain"]["rank_correlation_unseen"] == {
    "mean": 0.625, "low": 0.5, "high": 0.75, "seeds": {"0": 0.5, "1": 0.75},
  }  # fmt: skip
  assert made["sampler_beta_2_2"]["rank_correlation_unseen"]["low"] is None
  assert "policy_success" not in made["sampler_beta_2_2"]

  # Again: only what is missing.
  stages.calls.clear()
  ablation.run_ablation(config, tmp_path, paper.additions)
  assert stages.calls == [("sampler_beta_2_2", 1, False, True)]
  # A run from before a key was declared is still that run; one with another value is not.
  for name, value in (("plain", None), ("all", 3)):
    path = tmp_path / name / "seed0" / "config.json"
    stored = files.read_json(path)
    stored["finetune"].pop("discount")
    files.write_json(path, stored | ({"finetune": {"discount": value}} if value else {}))
  page = ablation.run_ablation(config, tmp_path, paper.additions)
  text = Page(page.read_text()).text
  assert "Left out: all, seed 0: expected the config of" in text and "Left out: plain" not in text
  config.ablation.seeds, config.ablation.only = (2,), ("demo",)
  ablation.run_ablation(config, tmp_path, paper.additions)
  assert list(files.read_json(tmp_path / "ablation.json")["variants"]) == [
    "plain", "all", "demo", "sampler_beta_2_2",
  ]  # fmt: skip


def test_text_table(config, stages, tmp_path):
  ablation.run_ablation(config, tmp_path, paper.additions)
  lines = comparison.format_comparison(tmp_path).splitlines()
  assert lines[0].startswith(f"{'plain':18}policy success 1.00 [1.00, 1.00]; rank correlation")
  assert len(lines) == 3


def test_the_finest_maps_are_compared(tmp_path):
  stage = {"object_over_area": 2.0, "robot_over_area": None}
  results = {
    "attention": {"stage4": {"object_over_area": 9.0}, "stage2": stage, "stage1_before": stage,
                  "occlusion": {"object": 0.25}},
    "off_path": {"reward": {"progress": 0.5, "hand": None}},
  }  # fmt: skip
  files.write_json(tmp_path / "v" / "seed0" / "results.json", results)
  assert comparison.collect(tmp_path) == {
    "v": {
      0: {
        "attention.fine.object_over_area": 2.0,
        "attention.occlusion.object": 0.25,
        "off_path.reward.progress": 0.5,
      }
    }
  }


@pytest.mark.parametrize(
  "change", ["finetune.tcc.weight", "finetune.tcc.weigth=0", "finetune=0", "seed=x", "a.b=1"]
)
def test_changes_that_are_none(config, change):
  with pytest.raises(UserError, match="expected changes like"):
    ablation.variant_config(config, (change,), 0)


def test_unknown_variants_and_empty_folders(config, stages, tmp_path):
  config.ablation.only = ("plian",)
  with pytest.raises(UserError, match="got 'plian'"):
    ablation.run_ablation(config, tmp_path, paper.additions)
  with pytest.raises(UserError, match="seed<n>, got none;"):
    comparison.write_comparison(tmp_path)
