"""Builds the pages of the Python API: every public name with its docstring.

    python -m launch.api --out=docs/api

Needs pdoc (`pip install "vipjax[docs]"`). Ends with an error if pdoc warns, such as of a public
name that does not exist.
"""

from __future__ import annotations

import importlib
import pathlib
import typing
import warnings

from absl import flags

from vipjax.runtime import launcher, places
from vipjax.runtime.errors import UserError

_OUT = flags.DEFINE_string("out", "docs/api", "the folder of the pages; its contents are replaced")
# The package with its rooms, and the types of their arguments and results.
_MODULES = ("vipjax", "vipjax.types", "vipjax.runtime.errors")


def main(_):
  try:
    import pdoc
  except ImportError as error:
    raise UserError("expected the package pdoc, got none; pip install pdoc.") from error
  import vipjax

  for name in vipjax.__all__:
    # pdoc does not find names that are imported on first use.
    setattr(vipjax, name, getattr(vipjax, name))
  for module in (*_MODULES, *(f"vipjax.{room}" for room in vipjax.ROOMS)):
    _resolve(importlib.import_module(module))
  out = pathlib.Path(_OUT.value).expanduser()
  places.make_folder(out)
  pdoc.render.configure(docformat="google", footer_text=f"vipjax {vipjax.__version__}")
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", UserWarning)
    pdoc.pdoc(*_MODULES, output_directory=out)
  told = [str(each.message) for each in caught if "pdoc" in each.filename]
  if told:
    raise UserError(f"expected no warnings of pdoc, got {'; '.join(told)}; mend them.")
  print(out / "index.html")


def _resolve(module) -> None:
  """Evaluates annotations of named tuples here, because pdoc looks them up elsewhere."""
  for public in list(vars(module).values()):
    if isinstance(public, type) and issubclass(public, tuple) and hasattr(public, "_fields"):
      public.__new__.__annotations__ = typing.get_type_hints(public)


if __name__ == "__main__":
  launcher.run(main)
