"""mm-convert for InternVL on the CPU runtime: `mm-convert InternVLConverter hf_to_mm|mm_to_hf|resplit --cfg.…`.

Options, names and files are those of MindSpeed MM 2.2.0's converter. Different on purpose: what goes wrong there in
silence ends here with a sentence and exit code 1 (a missing shard, left-overs in the target, dimensions that a TP size
does not divide); mm_to_hf is exact for every TP size and reads virtual stages (its lists then have two or more rows,
else one list as there); resplit works; the tracker is written last.
Memory of our own: a few times one rank file or one safetensors shard, never the model; the input is mapped, so it
counts as resident but the kernel can drop it (671 MB bf16 to TP4 x PP2: 0.5 GB own,
1.6 GB peak with torch and input, 7 s).
Exit codes: 0 done, 1 the input cannot be converted, 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .convert_args import parallel_of, parse
from .convert_layout import Parallel, check_against, check_shape, read_facts
from .convert_names import TEXT
from .convert_sources import HfSource, MmSource, say
from .convert_write import write_hf, write_mm
from .hf_files import ConvertError


def hf_to_mm(hf_dir: Path, mm_dir: Path, parallel: Parallel) -> None:
    """Writes the checkpoint `mm_dir` from a Hugging Face folder; raises ConvertError with a sentence for the user."""
    facts = read_facts(hf_dir)
    check_against(parallel, facts)
    source = HfSource(hf_dir, facts)
    files = write_mm(source, mm_dir, {'': parallel}, facts.heads)
    say(f'done: {len(source.names)} tensors in {files} files in {mm_dir}')


def mm_to_hf(mm_dir: Path, hf_dir: Path, save_hf_dir: Path, parallel: Parallel) -> None:
    """Writes the folder `save_hf_dir` like `hf_dir` with the weights of the checkpoint `mm_dir`."""
    facts = read_facts(hf_dir)
    check_against(parallel, facts)
    source = MmSource(mm_dir, tp=parallel.tp, tied=facts.tied)
    check_layout(source, parallel, mm_dir)
    total = write_hf(source, save_hf_dir, hf_dir, facts)
    say(f'done: {total} tensors in {save_hf_dir}')


def resplit(source_dir: Path, target_dir: Path, old: Parallel, new: Parallel, hf_dir: Path | None) -> None:
    """Writes the checkpoint `target_dir` with the weights of `source_dir` in another layout.

    Cutting a module over more than one TP rank needs the head counts, so `hf_dir`. Without it a model counts as tied
    where its output layer is absent, or bit-equal to its embedding in a pipeline.
    """
    facts = read_facts(hf_dir) if hf_dir else None
    for parallel in (old, new):
        check_shape(parallel)
        if facts:
            check_against(parallel, facts)
    if facts is None and new.tp_size > 1:
        raise ConvertError('A target TP size above 1 needs the head counts: name --cfg.hf_config.hf_dir.')
    if old.totals() != new.totals():
        raise ConvertError(f'The layer lists of source and target differ in sum: {old.totals()} and {new.totals()}.')
    source = MmSource(source_dir, tp=old.tp, tied=facts.tied if facts else None)
    check_layout(source, old, source_dir)
    files = write_mm(source, target_dir, {'': new}, facts.heads if facts else None)
    say(f'done: {len(source.names)} tensors in {files} files in {target_dir}')


def check_layout(source: MmSource, parallel: Parallel, where: Path) -> None:
    """Refuses a checkpoint that is in another layout than the lists say, instead of renumbering layers wrongly."""
    found = {module: tuple(map(tuple, rows)) for module, rows in source.counts.items()}
    wanted = dict(parallel.layers)
    if found != wanted:
        raise ConvertError(f'{where} holds the layers {found}, but the options say {wanted}.')
    size = source.sizes[TEXT]
    if size != parallel.tp_size:
        raise ConvertError(f'{where} has {size} tensor-parallel ranks, but the options say {parallel.tp_size}.')


def run(command: str, values: Mapping[str, Any]) -> None:
    hf_dir = values['hf_config.hf_dir']
    if command == 'hf_to_mm':
        hf_to_mm(hf_dir, values['mm_dir'], parallel_of(values))
    elif command == 'mm_to_hf':
        mm_to_hf(values['mm_dir'], hf_dir, values['save_hf_dir'], parallel_of(values))
    else:
        old, new = (parallel_of(values, f'{end}_parallel_config') for end in ('source', 'target'))
        resplit(values['source_dir'], values['target_dir'], old, new, hf_dir)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one conversion; the exit code is in the module's docstring."""
    command, values = parse(argv)
    try:
        run(command, values)
    except (ConvertError, OSError) as error:
        print(f'mm-convert: error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
