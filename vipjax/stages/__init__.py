"""The stages of a run, in the order of their work: (config, run folder) -> results.

Every stage takes a config with the keys of configs/paper.py (corpus: of configs/pretrain.py) and a
run folder that `run_folder.open_run` has opened. It returns facts that JSON can hold.
"""
