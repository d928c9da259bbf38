"""The CPU reference trainer of Anneal; importing it stays cheap, since `--die-with-parent` acts before torch loads."""
