"""The trainer from command line to last iteration: set-up in Megatron's order, the loop, and every way to end."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from time import perf_counter
from typing import NoReturn

import torch.distributed as dist

from .arguments import parse_args
from .config import ModelConfig
from .data import Batches, Dataset
from .errors import NotFiniteError, TrainerError, UsageError
from .exchange import Exchange
from .log import Logger, MetricsFile, Progress, fail_line, memory_line
from .lora import add_adapters
from .model import InternVL, init_weights
from .optimizer import AdamW
from .reduce import Reducer, StepFacts
from .runtime import join_ranks, make_repeatable
from .schedule import LearningRate
from .state import RunState
from .topology import build_topology


def main(argv: Sequence[str], dist_train_allowed: bool) -> NoReturn:
    """Train as the command line says, then end the process: 0 done or asked to stop, 1 failed, 2 never could work."""
    rank = int(os.environ.get('RANK', '0'))
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # a hang can then be looked into from outside
    code = 0
    try:
        args = parse_args(argv, dist_train_allowed)
        make_repeatable(args.seed)
        rank, world_size = join_ranks(args.distributed_timeout_minutes)
        Trainer(args, Logger(rank, world_size)).run()
        dist.barrier()  # nobody closes a connection that another rank still reads from
    except TrainerError as error:
        fail_line(str(error), rank)
        code = error.exit_code
    except SystemExit:  # --help
        raise
    except BaseException:
        # A lost peer is a RuntimeError of gloo: its words are what a watcher classifies, so they are kept.
        fail_line(traceback.format_exc(), rank)
        code = 1
    sys.stdout.flush()
    # Never by way of gloo's clean-up: it waits for ever for a peer that has already gone (seen in 1 of 6 exits).
    os._exit(code)


class Trainer:
    """One rank of a training run."""

    def __init__(self, args: argparse.Namespace, log: Logger) -> None:
        self.args, self.log, self.started = args, log, perf_counter()
        self.sigterm = False
        self.last_loss: float | None = None
        if args.exit_signal_handler:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        if args.ignored:
            log.first(f'accepted without effect on CPU: {" ".join(args.ignored)}')
        log.marker('after megatron is initialized')
        self.config = ModelConfig.from_file(args.mm_model)
        self.topology = build_topology(
            self.config, log.world_size, args.pipeline_model_parallel_size, self.args.dist_train
        )
        self.place = self.topology.place_of(log.rank)
        self._check()
        self._print_layout()
        self.state, self.reducer = self._build_state()
        self.batches = self._build_batches()
        log.first('done with setup ...')

    def run(self) -> None:
        """Train to the last iteration, or until asked to stop. Every rank leaves at the same iteration."""
        state, log, args = self.state, self.log, self.args
        log.first('training ...')
        exchange = self._build_exchange()
        progress = Progress(log, args.train_iters, args.global_batch_size, args.log_interval)
        metrics = MetricsFile(args.metrics_file if log.rank == log.world_size - 1 else None)
        log.marker('before the start of training step')
        first = True
        while state.iteration < args.train_iters:
            stop_reason = self._iterate(exchange, progress, metrics)
            if first and log.rank == self.place.ranks[0]:
                log.every(memory_line(log.rank, state.iteration))
            first = False
            if stop_reason is not None:
                state.save()
                log.marker(stop_reason)
                return
        log.marker('after training is done')
        state.save()

    def _iterate(self, exchange: Exchange, progress: Progress, metrics: MetricsFile) -> str | None:
        """One iteration; returns why to stop now, if so."""
        state, args, started = self.state, self.args, perf_counter()
        lr = state.schedule.value()
        state.optimizer.zero_grad()
        losses = exchange.run(state.consumed)
        is_own_finite = self.reducer.reduce_gradients()
        spoilt = exchange.spoilt == 'made' if exchange.spoilt else None if is_own_finite is None else not is_own_finite
        facts = self.reducer.share(losses, self.sigterm, self._time_is_up(), spoilt)
        if not facts.finite:
            raise NotFiniteError(self._not_finite(facts))
        self.last_loss = facts.loss
        self.reducer.clip(facts.grad_norm, args.clip_grad)
        state.optimizer.step(lr)
        state.iteration += 1
        state.consumed += args.global_batch_size
        state.schedule.step(args.global_batch_size)
        metrics.write(state.iteration, facts.loss, facts.grad_norm, lr, state.consumed, perf_counter() - started)
        progress.add(state.iteration, state.consumed, facts.loss, facts.grad_norm, lr)
        if facts.stop_requested:
            return 'exiting program after receiving SIGTERM.'
        if args.save_interval and state.iteration % args.save_interval == 0:
            state.save()
        if facts.time_is_up:
            return f'exiting program after {args.exit_duration_in_mins} minutes'
        if args.exit_interval and state.iteration % args.exit_interval == 0:
            return f'exiting program at iteration {state.iteration}'
        return None

    def _not_finite(self, facts: StepFacts) -> str:
        before = 'no loss before it' if self.last_loss is None else f'loss {self.last_loss:.6E} before it'
        ranks = ', '.join(map(str, facts.spoilt_on)) or 'unknown'
        return (
            f'iteration {self.state.iteration + 1} is not finite: loss {facts.loss}, gradient norm {facts.grad_norm}, '
            f'{before}, began on rank {ranks}. The weights are as before.'
        )

    def _check(self) -> None:
        """Refuse batch sizes and layouts that cannot work, before anything is built."""
        args, largest = self.args, max(submodel.dp for submodel in self.topology.submodels)
        args.global_batch_size = args.global_batch_size or args.micro_batch_size * largest
        for submodel in self.topology.submodels:
            share = args.micro_batch_size * submodel.dp
            if args.global_batch_size % share:
                raise UsageError(
                    f'--global-batch-size {args.global_batch_size} is not a multiple of --micro-batch-size '
                    f'{args.micro_batch_size} x {submodel.dp} replicas{submodel.name and " of " + submodel.name}.'
                )
        longest = self.config.language.max_position_embeddings
        if args.seq_length > longest:
            raise UsageError(f'--seq-length {args.seq_length} is above max_position_embeddings {longest}.')

    def _print_layout(self) -> None:
        if not self.args.dist_train:
            return
        models = [{'name': m.name, 'world_size': m.world_size, 'pp': m.pp, 'dp': m.dp} for m in self.topology.submodels]
        names = [m.name for m in self.topology.submodels for _ in range(m.world_size)]
        self.log.every(f'_ALL_CONFIG={models}\n_RANK_NUMBER_TO_MODEL_NAME={names}')

    def _build_state(self) -> tuple[RunState, Reducer]:
        args, log = self.args, self.log
        log.first('building VLMModel ...')
        model = InternVL(self.config, self.place.stage)
        init_weights(model, args.seed)
        add_adapters(model, args)
        model.train()
        reducer = Reducer(log.rank, self.topology, model, self.config, args.global_batch_size // args.micro_batch_size)
        for place in self.topology.places:
            if not any(place.stage.owns(name) for name in reducer.slots):
                # MindSpeed MM dies on such a stage with a bare AssertionError at its first log line.
                raise UsageError(
                    f'Pipeline stage {place.index} has only frozen parameters; unfreeze one of its modules.'
                )
        optimizer = AdamW(reducer.parameters, args)
        schedule = LearningRate(args)
        state = RunState(args, log, self.topology, self.place, model, optimizer, schedule)
        self._load(state)
        log.marker('after model, optimizer, and learning rate scheduler are built')
        return state, reducer

    def _load(self, state: RunState) -> None:
        args = self.args
        if args.load is None or state.load():
            return
        self.log.first(f'WARNING: could not find the metadata file in {args.load}')
        if args.exit_on_missing_checkpoint:
            self.log.first(">> '--exit-on-missing-checkpoint' set ... exiting. <<")
            # Megatron exits 0 here, so that a wrapper takes an untrained run for a finished one; we do not.
            raise TrainerError(f'--load {args.load} holds no checkpoint, and --exit-on-missing-checkpoint is set.')
        self.log.first('    will not load any checkpoints and will start from random')

    def _build_batches(self) -> Batches:
        args, stage = self.args, self.place.stage
        dataset = Dataset(args.mm_data, self.config)
        batches = Batches(
            dataset, args.global_batch_size, args.micro_batch_size, args.seq_length, args.variable_seq_lengths
        )
        if stage.llm_count:
            batches.encode()
        if stage.vit_begin:
            dataset.check_images()
        dist.barrier()
        self.log.marker('after dataloaders are built')
        return batches

    def _build_exchange(self) -> Exchange:
        names, index = list(self.reducer.slots), self.place.index
        return Exchange(
            rank=self.log.rank,
            topology=self.topology,
            place=self.place,
            model=self.state.model,
            config=self.config,
            batches=self.batches,
            seed=self.args.seed,
            needs_grad_in=index > 0 and self.topology.trained_up_to(index - 1, names),
            needs_grad_out=self.topology.trained_up_to(index, names),
        )

    def _time_is_up(self) -> bool:
        limit = self.args.exit_duration_in_mins
        return limit is not None and self.log.rank == 0 and perf_counter() - self.started > limit * 60.0

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        self.sigterm = True
