"""Installs the plug-in; LeRobot finds it by the beginning of the distribution's name."""

import setuptools

setuptools.setup(
  name="lerobot_policy_vipjax",
  version="0.1.0",
  description="vipjax's distance to a goal picture as a reward model of LeRobot; needs no JAX.",
  license="Apache-2.0",
  python_requires=">=3.12",
  packages=["lerobot_policy_vipjax"],
  # The first with reward models of other people's.
  install_requires=["lerobot>=0.6", "torch"],
)
