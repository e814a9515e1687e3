"""Measures one part of what the published experiment takes on this machine, or writes the page.

    python -m launch.gpu_check PART --out=FOLDER
    python -m launch.gpu_check page --out=FOLDER --page=docs/results/gpu.md

launch/gpu_check.sh runs all parts, each with a limit of its own, and then the page.
"""

import pathlib

from absl import flags

from vipjax.runtime import launcher
from vipjax.runtime.errors import UserError

_OUT = flags.DEFINE_string("out", "docs/results/benchmark_gpu", "the folder of the results")
_PAGE = flags.DEFINE_string("page", None, "of page: a page whose table is replaced")
_SMALL = flags.DEFINE_bool("small", False, "measure next to nothing, to see that it runs")


def main(argv):
  from vipjax.benchmark import gpu_check, gpu_page  # Here, so that --help answers at once.

  part = argv[1] if argv[1:] else ""
  if part not in (*gpu_check.PARTS, "page"):
    raise UserError(
      f"expected a part among {', '.join(gpu_check.PARTS)}, or page, got {part!r}; choose one."
    )
  sizes = gpu_check.SMALL if _SMALL.value else gpu_check.Sizes()
  folder = pathlib.Path(_OUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  if part != "page":
    gpu_check.run_part(part, sizes, folder)
    return
  print(gpu_page.write_page(sizes, folder, pathlib.Path(_PAGE.value) if _PAGE.value else None))


if __name__ == "__main__":
  launcher.run(main, words=1)
