"""The reward model for LeRobot: the folder that we write, and LeRobot itself where it is there."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.encoder.seeded import assert_one_sentence
from tests.videos.clips import moving_picture
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.reward.lerobot_model import export_lerobot
from vipjax.reward.relabel import label_videos, write_labels
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos

ROOT = pathlib.Path(__file__).parents[2]
PLUGIN = ROOT / "third_party/lerobot_policy_vipjax"
DATA = ROOT / "tests/testdata/lerobot_v30"
FRAMES = moving_picture(6, 36, 52)


@pytest.fixture(scope="module")
def value(whole_value):
  return whole_value


def test_the_folder_holds_the_export_and_the_goals(value, tmp_path):
  goals = [FRAMES[-1], FRAMES[0]]
  folder = export_lerobot(tmp_path / "model", value, goals, "nearest", "observation.image")
  config = json.loads((folder / "config.json").read_text())
  assert (config["type"], config["num_goals"], config["resize"]) == ("vipjax", 2, 16)
  tensors = load_file(folder / "model.safetensors")
  np.testing.assert_array_equal(
    tensors["encoder.conv1.weight"],
    value.variables["params"]["conv1"]["kernel"].transpose(3, 2, 0, 1),
  )
  assert "encoder.layer4.1.bn2.running_var" in tensors
  each = [value.embed(goal[None])[0] for goal in goals]
  np.testing.assert_array_equal(tensors["goals"], each)
  with pytest.raises(UserError, match="pass --overwrite") as error:
    export_lerobot(folder, value, goals)
  assert_one_sentence(error)
  export_lerobot(folder, value, goals, overwrite=True)
  mean = load_file(folder / "model.safetensors")["goals"]
  np.testing.assert_allclose(mean, [np.mean(each, axis=0)], rtol=1e-6)
  (tmp_path / "mine").mkdir()
  with pytest.raises(UserError, match="give another --out") as error:
    export_lerobot(tmp_path / "mine", value, goals, overwrite=True)
  assert_one_sentence(error)
  with pytest.raises(UserError, match="a form of the reward among value") as error:
    export_lerobot(tmp_path / "x", value, goals, form="sum")
  assert_one_sentence(error)


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory):
  """LeRobot, and the plug-in as pip installs it."""
  reason = "lerobot is not installed (pip install lerobot; Python 3.12)"
  pytest.importorskip("lerobot.rewards", reason=reason, exc_type=ImportError)
  site = tmp_path_factory.mktemp("site")
  # pip builds in the folder itself.
  copy = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("source") / "plugin")
  command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
  subprocess.run([*command, f"--target={site}", str(copy)], check=True)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(site))
    yield


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
  ("arch", "stem", "sizes"),
  [("resnet18", "imagenet", (20, 16)), ("resnet50", "small", (64, 56))],
)
def test_its_rewards_are_ours(lerobot, tmp_path, arch, stem, sizes):
  import torch
  from lerobot.configs.rewards import RewardModelConfig
  from lerobot.rewards import make_reward_model, make_reward_pre_post_processors
  from lerobot.utils.import_utils import register_third_party_plugins

  register_third_party_plugins()
  value = init_value(jax.random.key(1), ResNetConfig(arch, 8, 8, stem=stem), Preprocessing(*sizes))
  goal = FRAMES[3]
  export_lerobot(tmp_path / "model", value, [goal], image_key="observation.images.side")
  expected = value.value(FRAMES, goal)
  # A sum that ends at half a level may be rounded either way, which moves embeddings a little.
  near = {"rtol": 2e-3, "atol": 3e-3}
  clips = torch.from_numpy(FRAMES).permute(0, 3, 1, 2)[None]
  for form, wanted, times in (
    ("value", expected[-1], [0, 5]),
    ("difference", expected[2] - expected[1], [1, 2]),
    ("progress", 1 - expected[4] / expected[0], [0, 1, 4]),
  ):
    config = RewardModelConfig.from_pretrained(tmp_path / "model", cli_overrides=[f"--form={form}"])
    config.pretrained_path = str(tmp_path / "model")
    model = make_reward_model(config)
    before, _ = make_reward_pre_post_processors(config)
    batch = before({"observation.images.side": clips[:, times].repeat(2, 1, 1, 1, 1)})
    reward = model.compute_reward(batch)
    assert reward.shape == (2,) and reward.dtype == torch.float32
    np.testing.assert_allclose(reward, [wanted] * 2, **near)
  # Single pictures, from 0 to 1; other goals; and what it saves is what it loads.
  config = RewardModelConfig.from_pretrained(tmp_path / "model")
  model = type(model).from_pretrained(tmp_path / "model")
  batch = {"observation.images.side": clips[0] / 255}
  np.testing.assert_allclose(model.compute_reward(batch), expected, **near)
  model.set_goals(clips[0, 4:])
  expected = value.value(FRAMES, FRAMES[4:], "nearest")
  np.testing.assert_allclose(model.compute_reward(batch), expected, **near)
  model.save_pretrained(tmp_path / "again")
  again = type(model).from_pretrained(tmp_path / "again")
  assert torch.equal(model.compute_reward(batch), again.compute_reward(batch))
  assert config.observation_delta_indices is None and not model.is_trainable

  from lerobot_policy_vipjax.network import prepare

  seen = prepare(clips[0].float(), *sizes).permute(0, 2, 3, 1)
  levels = 58 * np.abs(np.asarray(value.preprocessing(FRAMES)) - seen.numpy())
  assert levels.max() < 1.1 and (levels > 0.5).mean() < 0.02


@pytest.mark.filterwarnings("default")
def test_what_does_not_fit_it_refuses(lerobot, value, tmp_path):
  import torch
  from lerobot.configs.rewards import RewardModelConfig
  from lerobot.rewards import make_reward_model, make_reward_model_config
  from lerobot.utils.import_utils import register_third_party_plugins

  register_third_party_plugins()
  export_lerobot(tmp_path / "model", value, [FRAMES[0]], form="difference")
  config = RewardModelConfig.from_pretrained(tmp_path / "model")
  config.pretrained_path = str(tmp_path / "model")
  assert config.observation_delta_indices == [0, 1]
  model = make_reward_model(config)
  key = "observation.images.top"
  for batch, words in (
    ({"observation.images.left": torch.zeros(1)}, "got observation.images.left; set image_key"),
    ({key: torch.zeros(2, 36, 52, 3)}, r"got \[2, 36, 52, 3\]"),
    ({key: torch.full((1, 2, 3, 8, 8), -2.0)}, "from 0 to 1, or uint8"),
    ({key: torch.zeros(1, 3, 8, 8)}, "at least two pictures"),
  ):
    with pytest.raises(ValueError, match=words):
      model.compute_reward(batch)
  with pytest.raises(ValueError, match="with weights and goals"):
    fresh = make_reward_model(make_reward_model_config("vipjax", width=8, device="cpu"))
    fresh.compute_reward({key: torch.zeros(1, 3, 8, 8)})
  with pytest.raises(ValueError, match="form of the reward among"):
    type(config)(form="sum")
  tensors = load_file(tmp_path / "model/model.safetensors")
  tensors.pop("encoder.fc.bias")
  from safetensors.numpy import save_file

  save_file(tensors, tmp_path / "model/model.safetensors")
  with pytest.raises(RuntimeError, match="fc.bias"):
    make_reward_model(config)


@pytest.mark.filterwarnings("default")
def test_lerobot_weights_samples_by_the_progress_that_we_label(lerobot, value, tmp_path):
  from lerobot.rewards.sarm.rabc import RABCWeights

  labels = label_videos(value, open_videos(DATA, view="top"))
  write_labels(DATA, tmp_path / "labelled", labels)
  weights = RABCWeights(tmp_path / "labelled/sarm_progress.parquet", chunk_size=2, device="cpu")
  progress = np.concatenate([each.progress for each in labels])
  assert weights.progress_lookup == pytest.approx(dict(enumerate(progress.tolist())))
