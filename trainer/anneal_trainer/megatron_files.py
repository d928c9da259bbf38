"""Megatron's file names in a checkpoint folder, for the trainer and the converters alike."""

TRACKER_FILE = 'latest_checkpointed_iteration.txt'
"""Names the newest complete iteration of a folder, or `release`; the last that a save writes."""
MODEL_FILE = 'model_optim_rng.pt'
OPTIMIZER_FILE = 'distrib_optim.pt'
