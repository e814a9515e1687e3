"""Settings of the library and the keys of configs/paper.py: one set of numbers."""

import ast
import dataclasses
import importlib
import pathlib

import pytest

from configs import demo, paper
from vipjax import sampling
from vipjax.encoder import Preprocessing, ResNetConfig
from vipjax.finetune import IntentSettings, ProgressSettings, Settings, TccSettings
from vipjax.finetune.robot_free import RobotFreeSettings
from vipjax.reward import RewardSettings
from vipjax.runtime.errors import UserError
from vipjax.runtime.settings import from_section
from vipjax.sac import LoopSettings, SacSettings
from vipjax.sac.critic import CriticSettings
from vipjax.sac.exploration import ExplorationSettings
from vipjax.sac.online_settings import OnlineSettings
from vipjax.scene import View
from vipjax.stages.agent import loop_settings, sac_settings
from vipjax.stages.inputs import make_settings, views_from_config
from vipjax.stages.sections import SECTIONS, check_config, declared
from vipjax.stages.stage import stage
from vipjax.stages.task import filled

PACKAGE = pathlib.Path(__file__).parents[1] / "vipjax"
CONFIGS = PACKAGE.parent / "configs"
PAPER = filled(paper.get_config())
# What the library makes of configs/paper.py.
PUBLISHED = {
  SacSettings: sac_settings(PAPER.policy),
  CriticSettings: sac_settings(PAPER.policy).critic,
  LoopSettings: loop_settings(PAPER.policy),
  ExplorationSettings: loop_settings(PAPER.policy).exploration,
  OnlineSettings: from_section(OnlineSettings, PAPER.policy.online, "policy.online"),
  Settings: make_settings(PAPER.finetune),
  TccSettings: make_settings(PAPER.finetune).tcc,
  ProgressSettings: make_settings(PAPER.finetune).progress,
  IntentSettings: make_settings(PAPER.finetune).intents,
  RobotFreeSettings: from_section(RobotFreeSettings, PAPER.robot_free, "robot_free"),
  RewardSettings: from_section(
    RewardSettings, PAPER.reward, "reward", discount=PAPER.policy.discount
  ),
  ResNetConfig: from_section(ResNetConfig, PAPER.encoder, "encoder"),
  Preprocessing: Preprocessing(resize=PAPER.encoder.resize, crop=PAPER.encoder.size),
  View: views_from_config(PAPER.views)["front"],
}


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_a_default_is_what_configs_paper_says(kind):
  assert dataclasses.asdict(kind()) == dataclasses.asdict(PUBLISHED[kind])


def test_a_sampler_of_any_name_has_the_defaults_of_configs_paper():
  for name in sampling.SAMPLERS:
    section = {**PAPER.finetune.sampler, "name": name}
    assert sampling.Sampler(name) == sampling.Sampler(**section)


def test_no_settings_are_forgotten():
  """Whatever is called settings has no default, or is held above."""
  with_defaults = set()
  for module in PACKAGE.rglob("*.py"):
    for node in ast.walk(ast.parse(module.read_text())):
      if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
        if any(isinstance(each, ast.AnnAssign) and each.value for each in node.body):
          with_defaults.add(node.name)
  assert with_defaults == {kind.__name__ for kind in PUBLISHED if "Settings" in kind.__name__}


def test_each_key_of_a_section_is_a_field_of_exactly_one_dataclass():
  # Named by users, and what fits a task, which is a config of its own.
  free = {"expect", "views", "for_task"}
  keys = [key for key in PAPER if key not in free]
  names = [key for key in keys if hasattr(PAPER[key], "items")]
  names += [
    f"{top}.{key}" for top in names for key in PAPER[top] if hasattr(PAPER[top][key], "items")
  ]
  assert set(names) == set(SECTIONS), "add it to SECTIONS in stages/sections.py"
  for name in SECTIONS:
    section = PAPER
    for part in name.split("."):
      section = section[part]
    inner = {each.rpartition(".")[2] for each in SECTIONS if each.rpartition(".")[0] == name}
    known = [key for section_of, _, keys in declared() if section_of == name for key in keys]
    twice = sorted({key for key in known if known.count(key) > 1})
    assert not twice, f"config.{name}: {twice} are fields of two dataclasses; delete one of them"
    missing, unread = sorted(set(section) - inner - set(known)), sorted(set(known) - set(section))
    kinds = ", ".join(kind.__name__ for kind in SECTIONS[name])
    assert not missing, f"config.{name}: {missing} are fields of none of {kinds}; add them to one"
    assert not unread, (
      f"config.{name}: {unread} of {kinds} are not in configs/paper.py; add them there, or to "
      "_COMPUTED in stages/sections.py"
    )


def test_a_stage_checks_the_type_of_every_key(tmp_path):
  configs = [importlib.import_module(f"configs.{path.stem}") for path in CONFIGS.glob("*.py")]
  whole = [each.get_config() for each in configs if set(PAPER) <= set(each.get_config())]
  assert len(whole) >= 5
  for config in whole:
    check_config(config)
  broken = PAPER.to_dict()
  broken["env"]["horizon"] = broken["policy"]["steps"] = None  # left for the task to choose
  broken["policy"]["views"] = "front"
  with pytest.raises(UserError, match="^expected a tuple for config.policy.views, got 'front';"):
    stage("any")(lambda *_: {})(broken, tmp_path)
  del broken["policy"]
  with pytest.raises(UserError, match="^expected config.policy.steps, got a section without it;"):
    check_config(broken)


@pytest.mark.parametrize("stored", [False, True])
def test_a_section_becomes_settings(stored):
  config = filled(demo.get_config())
  config.policy.hidden = (8, 4)
  policy = config.policy.to_dict()
  if stored:  # as JSON has it
    policy["hidden"] = list(policy["hidden"])
  made = from_section(SacSettings, policy, "policy", learning_rate=1.0, critic=CriticSettings())
  assert (made.hidden, made.discount, made.learning_rate) == ((8, 4), 0.97, 1.0)
  assert made.target_entropy is None
  del policy["discount"]
  with pytest.raises(UserError, match=r"^expected config\.policy\.discount, got a section without"):
    from_section(SacSettings, policy, "policy", critic=CriticSettings())


@pytest.mark.parametrize(
  "key, value, words",
  [
    ("batch_size", 2.5, "a whole number"), ("batch_size", True, "a whole number"),
    ("discount", "0.9", "a number"), ("hidden", 256, "a tuple"),
    ("target_entropy", "auto", "a number or None"),
  ],
)  # fmt: skip
def test_a_value_of_another_type_is_one_sentence(key, value, words):
  section = {**PAPER.policy.to_dict(), key: value}
  with pytest.raises(UserError, match=f"^expected {words} for config.policy.{key}, got {value!r};"):
    from_section(SacSettings, section, "policy", critic=CriticSettings())
