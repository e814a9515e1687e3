"""What holds for all tests; it is loaded before any of them imports JAX or MuJoCo."""

import atexit
import importlib.metadata
import os
import shutil
import tempfile

from tests.compilation import FAST

# Tests of several devices use fake ones on the CPU.
os.environ["JAX_PLATFORMS"] = "cpu"
_FLAGS = f"--xla_force_host_platform_device_count=8 {FAST}"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()

from vipjax.runtime import gl  # noqa: E402

gl.configure()

import jax  # noqa: E402
import pytest  # noqa: E402

# Tests of one process share their compiled programs. Each has a folder of its own, because JAX
# writes there without a lock, and has it now, because JAX looks for one at its first compilation.
_PROGRAMS = tempfile.mkdtemp(prefix="vipjax_tests_")
atexit.register(shutil.rmtree, _PROGRAMS, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _PROGRAMS)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# Adding [B] to [B, D] without saying how is a mistake more often than not.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def arms_files():
  """The folder of the Panda's and the Jaco's files; skips where there is no getting them."""
  from vipjax.runtime.errors import UserError
  from vipjax.scene.robosuite import robosuite_assets

  try:
    return robosuite_assets()
  except UserError as error:
    pytest.skip(f"the arms' files are neither cached nor reachable: {error}")


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
  """window-open with eight placements; where other packages are, one that was exported before."""
  from vipjax.envs.warp import export_scene, read_scene

  if importlib.metadata.version("metaworld") == "3.1.1":
    return export_scene(tmp_path_factory.mktemp("scene"), "window-open", placements=8, horizon=20)
  if "VIPJAX_WARP_SCENE" not in os.environ:
    pytest.skip("metaworld 3.1.1 is not here to export a scene, and VIPJAX_WARP_SCENE names none")
  return read_scene(os.environ["VIPJAX_WARP_SCENE"])


@pytest.fixture
def no_workers(monkeypatch):
  """Environments step in this process, where other tests hold that they do the same.

  A worker takes two seconds to import what it needs.
  """
  monkeypatch.setattr("vipjax.envs.vector.usable_cores", lambda: 0)


@pytest.fixture(scope="module")
def one_block():
  """ResNet-18 cut down to one block, which compiles in a second."""
  from vipjax.encoder import resnet

  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
    yield


@pytest.fixture(autouse=True)
def usual_scheduling():
  """Takes back what the AV1 encoder of some tests does to a process of root's.

  SVT-AV1 gives it real-time priority; programs that later tests start inherit that, and two of
  them that wait for one another then leave nothing of two cores for the threads they wait for.
  """
  yield
  if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
