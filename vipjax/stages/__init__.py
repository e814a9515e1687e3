"""The stages of a run, in the order of their work: (config, run folder) -> results."""
