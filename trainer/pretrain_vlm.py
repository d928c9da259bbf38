"""Entry of a run without Dist-train: `torchrun … pretrain_vlm.py …`, every rank holds a slice of the whole model."""

import sys

from anneal_trainer.boot import die_with_parent

die_with_parent(sys.argv)

from anneal_trainer.train import main  # noqa: E402 - loading torch takes seconds in which the parent may die

if __name__ == '__main__':
    main(sys.argv[1:], dist_train_allowed=False)
