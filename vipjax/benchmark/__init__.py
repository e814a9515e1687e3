"""Speed of all parts, compared with other packages and with the machine's peak."""

from vipjax.benchmark.run import run_suite

__all__ = ["run_suite"]
