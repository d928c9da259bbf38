"""Entry of a trainer on a host that makes a NaN: the real trainer, but for one gradient of its rank in one iteration."""

import sys

from anneal_trainer.boot import die_with_parent

die_with_parent(sys.argv)

from anneal_trainer.reduce import Reducer  # noqa: E402 - see pretrain_internvl.py
from anneal_trainer.train import Trainer, main  # noqa: E402

BAD_ITERATION = 15
iterate, reduce_gradients = Trainer._iterate, Reducer.reduce_gradients
now = {"iteration": 0}


def iterate_and_note(self, *arguments):
    now["iteration"] = self.state.iteration + 1
    return iterate(self, *arguments)


def reduce_and_spoil(self):
    if now["iteration"] == BAD_ITERATION:
        next(iter(self.parameters.values())).grad[0] = float("nan")
    return reduce_gradients(self)


Trainer._iterate, Reducer.reduce_gradients = iterate_and_note, reduce_and_spoil

if __name__ == "__main__":
    main(sys.argv[1:], dist_train_allowed=True)
