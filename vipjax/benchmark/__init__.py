"""How fast everything is, beside what a user would run instead and what the machine could do."""

from vipjax.benchmark.run import SUITES, run_suite

__all__ = ["SUITES", "run_suite"]
