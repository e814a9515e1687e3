"""Installs vipjax. `configs/` and `launch/` are not installed: they are run from the clone."""

import pathlib

import setuptools

# Lower bounds are the oldest versions with which the tests and every stage ran (on Python 3.11:
# docs/results/packages.md); where an older one is known to fail, a comment says why. There is no
# upper bound but metaworld's, for no other break is known; CI runs with the newest of each.
REQUIREMENTS = [
  "absl-py>=2.1",
  # Its conversion of colours can be made exact (ACCURATE_RND).
  "av>=18",
  "chex>=0.1.90",
  "fast-simplification>=0.1.9",
  "flax>=0.10.6",
  "grain>=0.2.10",
  # Older ones lack a render mode that metaworld asks for.
  "gymnasium>=1.2",
  # tensorflow-datasets imports it without declaring it; older ones use what Python deprecates.
  "importlib_resources>=6",
  # Several hosts: heartbeat_timeout_seconds, and jax_enable_preemption_service.
  "jax>=0.8.2",
  # Older ones use what pyparsing deprecates.
  "matplotlib>=3.10.8",
  # pip takes 3.1.1, which pins mujoco 3.3.0 and needs Python below 3.14: the environments' ids and
  # all results are of it, and the environments run with no other. The one before is there for the
  # extra "warp" alone, whose newer mujoco 3.1.1 refuses; vipjax runs from exported scenes there.
  "metaworld>=3.0,<=3.1.1",
  # The one before has escape sequences that Python warns of.
  "ml-collections>=1.1",
  # metaworld chooses it. MjSpec is another from 3.17 on: deletion, joints' damping, equalities.
  "mujoco>=3.3",
  "numpy>=2",
  "optax>=0.2.5",
  "orbax-checkpoint>=0.11.20",
  # gymnasium's mujoco environments import it without declaring it.
  "packaging>=21",
  "pillow>=10.1",
  "platformdirs>=3",
  # The JavaScript that draws the reports' charts.
  "plotly>=6",
  # LeRobot's tables; tensorflow-datasets needs it as well.
  "pyarrow>=18",
  "safetensors>=0.4.3",
  # Rank correlations, and masks; jax asks for it.
  "scipy>=1.14",
  "tensorboardX>=2.6.2.2",
  # Older ones ask protobuf for what it has not any more.
  "tensorflow-datasets>=4.9.10",
  "tqdm>=4.66",
  "trimesh>=4.4",
]

EXTRAS = {
  # The pages of the API (launch.api).
  "docs": ["pdoc>=14.5"],
  # LeRobot data sets of the Hugging Face hub.
  "hub": ["huggingface_hub>=0.23"],
  # robomimic's HDF5 files.
  "robomimic": ["h5py>=3.11"],
  # SAM 2's masks (launch.erase --sam2). The first that was built for NumPy 2.
  "sam2": ["onnxruntime>=1.20"],
  "test": [
    # The first that was built for NumPy 2.
    "h5py>=3.11",
    # Older ones ask NumPy for what it has not any more.
    "hypothesis>=6.110",
    # Networks of SAM 2's inputs and outputs.
    "onnx>=1.17",
    "onnxruntime>=1.20",
    "pdoc>=14.5",
    # It drives a browser that is there already; it is skipped where there is none.
    "playwright>=1.40",
    "pytest>=8",
    "pytest-xdist>=3.5",
    # Older ones object to a slice as a default.
    "ruff>=0.15",
  ],
  # An episode for Rerun's viewer (launch.curves --rerun).
  "rerun": ["rerun-sdk>=0.23"],
  # The same environments by the thousand on a GPU (vipjax.envs.warp), in a Python environment of
  # its own: docs/warp.md. mjx[warp] pins warp-lang; later ones have no JAX side.
  "warp": ["mujoco==3.17.0", "mujoco-mjx[warp]==3.17.0"],
  # Weights & Biases, for --wandb.
  "wandb": ["wandb>=0.19"],
  # Other people's implementations, for second opinions and for timing against; vipjax itself
  # never imports them. The benchmarks' results say with which versions.
  "peers": ["sbx-rl>=0.28", "stable-baselines3>=2.9", "torch>=2.8"],
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
    "vipjax.report": ["*.css", "*.html", "*.js"],
  },
  # Gymnasium before 1.0 looks here; later ones know the ids once vipjax is imported, or by
  # "vipjax:vipjax/window-open-torque-sawyer-v0".
  entry_points={"gymnasium.envs": ["__root__ = vipjax.ids:register"]},
  install_requires=REQUIREMENTS,
  extras_require=EXTRAS,
)
