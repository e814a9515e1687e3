"""Simulators for the exported scene of tests/conftest.py."""

import importlib.metadata

import pytest

from tests.envs.warp.one_by_one import OneByOne


@pytest.fixture
def one_by_one(scene):
  """Makes a simulator without Warp for a number of worlds."""
  return lambda num_worlds: OneByOne(scene, num_worlds)


@pytest.fixture
def pinned():
  """Skips a test that needs the packages of the base install."""
  found = importlib.metadata.version("metaworld")
  if found != "3.1.1":
    pytest.skip(f"it compares with RobotEnv, which needs metaworld 3.1.1 and not {found}")
