"""How XLA compiles what tests run: quickly, for nearly all of their time is compilation."""

import importlib.metadata

# The optimiser's last level takes half the time.
FAST = "--xla_backend_optimization_level=0"
# So do, of the rest, the fusion emitters that this XLA still has a switch for; another XLA may end
# the process at a flag that it does not know.
if importlib.metadata.version("jaxlib") == "0.10.2":
  FAST += " --xla_cpu_use_fusion_emitters=false"
