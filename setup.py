"""Installs vipjax. `configs/` and `launch/` are not installed: they are run from the clone."""

import pathlib

import setuptools

REQUIREMENTS = [
  "absl-py",
  "av",
  "chex",
  "fast-simplification",
  "flax",
  "grain",
  "gymnasium",
  # tensorflow-datasets imports it without declaring it.
  "importlib_resources",
  "jax",
  "matplotlib",
  # It pins mujoco 3.3.0 and needs Python below 3.14.
  "metaworld==3.1.1",
  "ml-collections",
  "mujoco",
  "numpy",
  "optax",
  "orbax-checkpoint",
  # gymnasium's mujoco environments import it without declaring it.
  "packaging",
  "pillow",
  "platformdirs",
  # The JavaScript that draws the reports' charts.
  "plotly",
  # LeRobot's tables; tensorflow-datasets needs it as well.
  "pyarrow",
  "safetensors",
  "tensorboardX",
  "tensorflow-datasets",
  "tqdm",
  "trimesh",
]

EXTRAS = {
  # The pages of the API (launch.api).
  "docs": ["pdoc"],
  # LeRobot data sets of the Hugging Face hub.
  "hub": ["huggingface_hub"],
  # robomimic's HDF5 files.
  "robomimic": ["h5py"],
  # playwright drives a browser that is there already; it is skipped where there is none.
  "test": ["h5py", "hypothesis", "pdoc", "playwright", "pytest", "pytest-xdist", "ruff"],
  # An episode for Rerun's viewer (launch.curves --rerun).
  "rerun": ["rerun-sdk"],
  # Weights & Biases, for --wandb.
  "wandb": ["wandb"],
  # Other people's implementations, for second opinions and for timing against; vipjax itself
  # never imports them.
  "peers": ["sbx-rl", "stable-baselines3", "torch"],
}

setuptools.setup(
  name="vipjax",
  version="0.1.0",
  description="From a few videos to a reward and a policy: value-implicit pre-training in JAX.",
  long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8")
  if pathlib.Path(__file__).with_name("README.md").is_file()
  else "",
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11,<3.14",
  packages=[*setuptools.find_packages(include=["vipjax", "vipjax.*"]), "vipjax.third_party"],
  # The manifests that the package reads when it fetches what others made.
  package_dir={"vipjax": "vipjax", "vipjax.third_party": "third_party"},
  package_data={
    "vipjax.third_party": ["*.json"],
    "vipjax.encoder": ["pretrained/**"],
    "vipjax.report": ["*.js"],
  },
  # Gymnasium before 1.0 looks here; later ones know the ids once vipjax is imported, or by
  # "vipjax:vipjax/window-open-torque-sawyer-v0".
  entry_points={"gymnasium.envs": ["__root__ = vipjax.ids:register"]},
  install_requires=REQUIREMENTS,
  extras_require=EXTRAS,
)
