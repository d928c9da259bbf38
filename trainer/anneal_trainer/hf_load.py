"""Load a Hugging Face folder of InternVL (original layout) into the trainer's own model, in memory."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from .convert_layout import ModelFacts, read_facts
from .convert_names import OUTPUT, check_complete, place_of, text_names
from .convert_split import join_parts
from .hf_config import read_hf_config
from .hf_files import ConvertError, read_folder, shorten
from .model import InternVL


def load_model(folder: Path) -> InternVL:
    """Return the model, fp32, in evaluation mode; raises ConvertError or UsageError that says what does not fit."""
    config = read_hf_config(folder)
    state = _mm_tensors(folder, read_facts(folder))
    model = InternVL(config)
    wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
    if config.language.tie_word_embeddings and OUTPUT not in wanted:
        state.pop(OUTPUT, None)
    wrong = sorted(
        name for name in wanted.keys() | state.keys() if name not in state or wanted.get(name) != state[name].shape
    )
    if wrong:
        raise ConvertError(
            f'The tensors in {folder} do not fit its config.json, as {shorten(wrong)}: fetch the model again.'
        )
    model.load_state_dict(state)
    return model.eval()


def _mm_tensors(folder: Path, facts: ModelFacts) -> dict[str, Tensor]:
    entries = read_folder(folder)  # refuses missing, doubled and cut files
    names = text_names(facts.architecture)
    parts: dict[str, dict[str, Tensor]] = {}
    for file in sorted({entry.file for entry in entries.values()}):
        for name, value in load_file(file).items():
            place = place_of(name, names)
            parts.setdefault(place.name, {})[place.part] = value.float()
    check_complete(set(parts), facts.layers, facts.tied, str(folder))
    return {name: join_parts(found, facts.heads, name) for name, found in parts.items()}
