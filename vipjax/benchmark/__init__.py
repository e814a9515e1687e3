"""Speed of all parts, compared with other packages and with the machine's peak."""

from vipjax.benchmark.run import SUITES, run_suite

__all__ = ["SUITES", "run_suite"]
