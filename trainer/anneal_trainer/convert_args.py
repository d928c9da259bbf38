"""The command line of mm-convert: options of MindSpeed MM's converter, with its dots, checked before anything is read.

Every wrong option ends with exit code 2 and one sentence, as there. `--config FILE` takes a file with the top key
`cfg`: JSON (a subset of YAML) always, other YAML where PyYAML is installed. Options on the command line win over it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .convert_layout import Parallel
from .convert_names import IMAGE, TEXT

Rows = tuple[tuple[int, ...], ...]
COMMANDS = ('hf_to_mm', 'mm_to_hf', 'resplit')


def _wrong(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        _wrong(f'{text!r} is no list of whole numbers')


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(n) is int and n >= 0 for n in value)


def rows_2d(text: str) -> Rows:
    """`[[6,8],[7,7]]`: one row per virtual stage."""
    value = _json(text)
    if not (isinstance(value, list) and value and all(map(_numbers, value))):
        _wrong(f'{text!r} must be a list of lists, one row per virtual stage: [[6,8,8,6]]')
    return tuple(map(tuple, value))


def rows_1d(text: str) -> Rows:
    """`[6,8,8,6]`, as MindSpeed MM wants it; two or more rows for virtual stages, which it cannot read at all."""
    value = _json(text)
    if _numbers(value):
        return (tuple(value),)
    if isinstance(value, list) and len(value) > 1 and all(map(_numbers, value)):
        return tuple(map(tuple, value))
    _wrong(f'{text!r} must be one list, one number per pipeline rank: [6,8,8,6]; give rows only for virtual stages')


def positive(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) > 0 else _wrong(f'{text!r} must be a whole number above 0')


def count_or_zero(text: str) -> int:
    return int(text) if text.isdecimal() else _wrong(f'{text!r} must be a whole number, 0 or more')


def one(text: str) -> int:
    return (
        1 if text == '1' else _wrong(f'{text!r} is not supported here: InternVL has no experts, so only 1 makes sense')
    )


def boolean(text: str) -> bool:
    known = {'true': True, 'false': False, 'null': False}
    return known[text.lower()] if text.lower() in known else _wrong(f'{text!r} must be true or false')


def folder(text: str) -> Path:
    return Path(text) if Path(text).is_dir() else _wrong(f'{text!r} is no existing directory')


def unsupported(why: str, *empty: str) -> Callable[[str], None]:
    """A type for options of other model classes: their empty values are accepted, anything else is refused."""

    def check(text: str) -> None:
        if text.lower() not in empty:
            _wrong(f'{text!r} is refused: {why}')

    return check


def _options(command: str) -> dict[str, tuple[Callable[[str], Any], bool, Any, str]]:
    """Option name below `cfg.` -> (type, required, default, help)."""
    rows = rows_2d if command == 'hf_to_mm' else rows_1d
    options: dict[str, tuple[Callable[[str], Any], bool, Any, str]] = {}
    for prefix in (
        ('source_parallel_config', 'target_parallel_config') if command == 'resplit' else ('parallel_config',)
    ):
        options |= {
            f'{prefix}.llm_pp_layers': (rows, True, None, 'layers of the language model per pipeline rank'),
            f'{prefix}.vit_pp_layers': (rows, True, None, 'layers of the vision model per pipeline rank'),
            f'{prefix}.audio_pp_layers': (unsupported('InternVL has no audio model', 'null'), False, None, 'null'),
            f'{prefix}.tp_size': (positive, False, 1, 'tensor-parallel size'),
            f'{prefix}.vit_tp_size': (count_or_zero, False, 0, 'tensor-parallel size of the vision model; 0 = tp_size'),
            f'{prefix}.audio_tp_size': (unsupported('InternVL has no audio model', '0', 'null'), False, None, '0'),
            f'{prefix}.ep_size': (one, False, 1, '1'),
        }
    options['trust_remote_code'] = (boolean, False, False, 'accepted; no code of a model is ever run here')
    options['hf_config.hf_dir'] = (folder, command != 'resplit', None, 'the model in its original Hugging Face layout')
    if command == 'resplit':
        options['source_dir'] = (folder, True, None, 'checkpoint to read')
        options['target_dir'] = (Path, True, None, 'checkpoint to write; absent or empty')
        return options
    options['mm_dir'] = (
        Path if command == 'hf_to_mm' else folder,
        True,
        None,
        'checkpoint in the layout of MindSpeed MM',
    )
    why = 'for InternVL the upstream converter drops or misnames all weights with it'
    options['llm_hf_config.hf_dir'] = (unsupported(why, 'null'), False, None, 'null')
    options['save_vit_only'] = (unsupported(why, 'false', 'null'), False, None, 'false')
    if command == 'mm_to_hf':
        options['save_hf_dir'] = (Path, True, None, 'Hugging Face folder to write; absent or empty')
    return options


def parse(argv: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """(command, values by option name below `cfg.`); exits with code 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog='mm-convert', description=__doc__, allow_abbrev=False)
    classes = parser.add_subparsers(dest='converter', required=True, metavar='InternVLConverter')
    commands = classes.add_parser('InternVLConverter', help='InternVL 2, 2.5 and 3', allow_abbrev=False)
    choices = commands.add_subparsers(dest='command', required=True)
    leaves: dict[str, argparse.ArgumentParser] = {}
    for command in COMMANDS:
        leaves[command] = choices.add_parser(command, allow_abbrev=False)
        leaves[command].add_argument(
            '--config', type=Path, help='file with the top key cfg (JSON, or YAML with PyYAML)'
        )
        for name, (kind, _, _, text) in _options(command).items():
            leaves[command].add_argument(f'--cfg.{name}', dest=name, type=kind, help=text, default=argparse.SUPPRESS)
    given = vars(parser.parse_args(argv))
    command = given['command']
    return command, _complete(leaves[command], command, given)


def _complete(parser: argparse.ArgumentParser, command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    options = _options(command)
    values = {name: default for name, (_, _, default, _) in options.items()}
    if given['config'] is not None:
        values |= _from_file(parser, given['config'], options)
    values |= {name: value for name, value in given.items() if name in options}
    missing = [f'--cfg.{name}' for name, (_, required, _, _) in options.items() if required and values[name] is None]
    if missing:
        parser.error(f'the following options are required: {", ".join(missing)}')
    return values


def _from_file(parser: argparse.ArgumentParser, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        tree = _load(path.read_text(encoding='utf-8'))
        flat = _flatten(tree['cfg'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f'argument --config: {path} cannot be used, it must hold the top key cfg ({error!r})')
    values: dict[str, Any] = {}
    for name, value in flat.items():
        if name not in options:
            parser.error(f'argument --config: {path} holds cfg.{name}, which {parser.prog} does not know')
        try:
            values[name] = options[name][0](value if isinstance(value, str) else json.dumps(value))
        except argparse.ArgumentTypeError as error:
            parser.error(f'argument --config: cfg.{name} in {path}: {error}')
    return values


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        try:
            import yaml
        except ImportError:
            raise ValueError('not JSON, and PyYAML is not installed: write it as JSON, a subset of YAML') from error
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as wrong:
            raise ValueError(f'neither JSON nor YAML: {wrong}') from wrong


def _flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': value}
    return flat


def parallel_of(values: Mapping[str, Any], prefix: str = 'parallel_config') -> Parallel:
    """The layout that the options below `prefix` describe."""
    tp_size = values[f'{prefix}.tp_size']
    return Parallel(
        layers={IMAGE: values[f'{prefix}.vit_pp_layers'], TEXT: values[f'{prefix}.llm_pp_layers']},
        tp={IMAGE: values[f'{prefix}.vit_tp_size'] or tp_size, TEXT: tp_size},
    )
