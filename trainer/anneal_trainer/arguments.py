"""The command line: Megatron's names and defaults, a few flags of our own, and a refusal for whatever is unknown."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import NoReturn

from .errors import UsageError
from .flags import REFUSED, REFUSED_WITH_VALUE, SWITCHES, WITH_VALUE
from .lora import check_lora_args


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of printing its usage and exiting by itself."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f'{message}.')


def parse_args(argv: Sequence[str], dist_train_allowed: bool) -> argparse.Namespace:
    """Parse and check a command line; `ignored` lists the flags that have no effect here.

    Raises UsageError: unknown flag (with the nearest known one), a flag that is refused, values that cannot work.
    """
    parser = build_parser(dist_train_allowed)
    # Before argparse looks: it would complain of a missing flag where one was only misspelt.
    flags = [token for token in argv if token.startswith('--')]
    unknown = [flag for flag in flags if flag.split('=', 1)[0] not in parser._option_string_actions]
    if not unknown:
        args, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise UsageError(_unknown_message(parser, unknown[0]))
    ignored = []
    for name in (*SWITCHES, *WITH_VALUE, *REFUSED):
        value = vars(args).pop(f'_{name}', None)
        if value is None or value is False:
            continue
        if name in REFUSED:
            raise UsageError(f'--{name} is refused: {REFUSED[name]}.')
        ignored.append(f'--{name}')
    args.ignored = sorted(ignored)
    check_args(args)
    return args


def build_parser(dist_train_allowed: bool) -> argparse.ArgumentParser:
    """The parser with every known flag; flags without effect get a private destination."""
    parser = _Parser(prog='pretrain_internvl.py' if dist_train_allowed else 'pretrain_vlm.py', allow_abbrev=False)
    _add_batch_and_schedule(parser)
    _add_checkpoint(parser)
    _add_layout(parser, dist_train_allowed)
    _add_lora(parser)
    for name in sorted(SWITCHES):
        parser.add_argument(f'--{name}', dest=f'_{name}', action='store_true', help=argparse.SUPPRESS)
    for name in sorted(WITH_VALUE):
        parser.add_argument(f'--{name}', dest=f'_{name}', help=argparse.SUPPRESS)
    for name in sorted(REFUSED):
        # "*" takes values where there are some, so that the refusal speaks and not a missing-value message.
        kind = {'nargs': '*'} if name in REFUSED_WITH_VALUE else {'action': 'store_true'}
        parser.add_argument(f'--{name}', dest=f'_{name}', help=argparse.SUPPRESS, **kind)
    return parser


def _add_batch_and_schedule(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--mm-data', required=True, help='data.json')
    add('--mm-model', required=True, help='model.json')
    add('--micro-batch-size', type=_positive, required=True, help='samples of one forward pass')
    add('--global-batch-size', type=_positive, help='samples of one iteration; micro batch x data parallel if unset')
    add('--seq-length', type=_positive, required=True, help='most tokens of a sample, image tokens included')
    add('--variable-seq-lengths', action='store_true', help='pad to the longest of a micro-batch, not to --seq-length')
    add('--train-iters', type=_positive, required=True, help='iteration to end at')
    add('--lr', type=float, required=True)
    add('--min-lr', type=float, default=0.0)
    add('--lr-warmup-iters', type=int, default=0)
    add('--lr-warmup-fraction', type=float, default=None, help='of the decay iterations; instead of --lr-warmup-iters')
    add('--lr-warmup-init', type=float, default=0.0)
    add('--lr-decay-iters', type=_positive, help='default: --train-iters')
    add('--lr-decay-style', choices=['constant', 'linear', 'cosine'], default='linear')
    add('--override-opt_param-scheduler', action='store_true', help="take this schedule, not the checkpoint's")
    add(
        '--use-checkpoint-opt_param-scheduler', action='store_true', help="take the checkpoint's schedule, not this one"
    )
    add('--weight-decay', type=float, default=0.01)
    add('--clip-grad', type=float, default=1.0, help='0 = never clip')
    add('--adam-beta1', type=float, default=0.9)
    add('--adam-beta2', type=float, default=0.999)
    add('--adam-eps', type=float, default=1e-8)
    add('--seed', type=int, default=1234)
    add('--log-interval', type=_positive, default=100)
    add('--metrics-file', help='JSON lines of the last rank, floats as float.hex()')


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--save', help='folder to save in; has its own tracker')
    add('--load', help='folder to load from; has its own tracker')
    add('--save-interval', type=_positive)
    add('--ckpt-format', default='torch', help='only torch')
    for name in ('no-load-optim', 'no-load-rng', 'no-save-optim', 'no-save-rng', 'finetune'):
        add(f'--{name}', action='store_true')
    add('--exit-on-missing-checkpoint', action='store_true')
    add('--exit-signal-handler', action='store_true', help='on SIGTERM save, then exit 0')
    add('--exit-interval', type=_positive, help='exit after an iteration that this divides')
    add('--exit-duration-in-mins', type=float, help='save and exit after so many minutes')
    add('--use-distributed-optimizer', action='store_true', help='optimizer tensors go to distrib_optim.pt')


def _add_layout(parser: argparse.ArgumentParser, dist_train_allowed: bool) -> None:
    add = parser.add_argument
    add('--tensor-model-parallel-size', type=_positive, default=1)
    add('--context-parallel-size', type=_positive, default=1)
    add('--pipeline-model-parallel-size', type=_positive, default=1)
    add('--distributed-backend', default='gloo', help='only gloo')
    add('--distributed-timeout-minutes', type=float, default=10.0, help='fractions are accepted')
    add('--die-with-parent', action='store_true', help='SIGKILL this process when the process that started it dies')
    if dist_train_allowed:
        add('--dist-train', action='store_true', help="split vision and language by model.json's dist_config")


def _add_lora(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--lora-target-modules', nargs='+', default=[], help='layers that get adapters; all other weights stay')
    add('--lora-r', type=_positive, help='rank; 8 if unset')
    add('--lora-alpha', type=_positive, help='adapters count alpha / rank; 16 if unset')
    add('--lora-dropout', type=float, help='only 0')
    add('--load-base-model', help='the model that the adapters in --load belong to')


def check_args(args: argparse.Namespace) -> None:
    """Refuse what can be seen to be wrong without any file. Raises UsageError."""
    args.dist_train = getattr(args, 'dist_train', False)
    for flag, value in (
        ('--tensor-model-parallel-size', args.tensor_model_parallel_size),
        ('--context-parallel-size', args.context_parallel_size),
    ):
        if value > 1:
            raise UsageError(f'{flag} is {value}: the CPU trainer splits no tensor and no sequence, so it must be 1.')
    if args.distributed_backend != 'gloo':
        raise UsageError(f'--distributed-backend is {args.distributed_backend}: on CPU only gloo works.')
    if args.ckpt_format != 'torch':
        raise UsageError(f'--ckpt-format is {args.ckpt_format}: only torch is written and read.')
    if args.save_interval and not args.save:
        raise UsageError('--save-interval is given without --save, so nothing would be saved.')
    if args.distributed_timeout_minutes <= 0:
        raise UsageError(f'--distributed-timeout-minutes is {args.distributed_timeout_minutes}: it must be above 0.')
    check_lora_args(args)
    args.lr_decay_iters = args.lr_decay_iters or args.train_iters
    if args.lr_warmup_fraction is not None:
        if args.lr_warmup_iters:
            raise UsageError('--lr-warmup-iters and --lr-warmup-fraction exclude each other.')
        args.lr_warmup_iters = round(args.lr_warmup_fraction * args.lr_decay_iters)
    if not 0 <= args.lr_warmup_iters < args.lr_decay_iters:
        raise UsageError(
            f'--lr-warmup-iters is {args.lr_warmup_iters}: it must be below the {args.lr_decay_iters} decay iterations.'
        )
    if not 0 <= args.min_lr <= args.lr:
        raise UsageError(f'--min-lr is {args.min_lr}: it must lie between 0 and --lr {args.lr}.')


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number of at least 1')
    return value


def _unknown_message(parser: argparse.ArgumentParser, token: str) -> str:
    flag = token.split('=', 1)[0]
    if not flag.startswith('--'):
        return f'{token!r} is not a flag and belongs to none before it; values follow their flag.'
    near = difflib.get_close_matches(flag, list(parser._option_string_actions), n=1, cutoff=0.0)
    return (
        f'{flag} is not a flag of Megatron or MindSpeed MM that this trainer knows; the nearest known one is {near[0]}.'
    )
