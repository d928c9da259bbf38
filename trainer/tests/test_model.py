"""The model's maths where a slip would still train: image order, causality, pixel shuffle."""

from __future__ import annotations

import torch
from support import model_json
from torch import Tensor

from anneal_trainer.config import ModelConfig
from anneal_trainer.model import InternVL, Projector, init_weights


def build(**changes: dict) -> InternVL:
    """A model with weights in which no bias and no norm is trivial."""
    torch.manual_seed(0)
    model = InternVL(ModelConfig.from_dict(model_json(**changes)))
    init_weights(model, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def prompt(rows: int) -> Tensor:
    """Ids with four image tokens each."""
    ids = torch.randint(6, 290, (rows, 20))
    ids[:, 2:6] = 5
    return ids


@torch.no_grad()
def test_what_follows_a_token_does_not_change_it_and_every_image_goes_to_its_own_row() -> None:
    model, ids, pixels = build(), prompt(2), torch.randn(2, 3, 28, 28)
    logits = model(ids, pixels)
    padded = torch.cat([ids, torch.full((2, 7), 2)], dim=1)
    assert torch.allclose(model(padded, pixels)[:, :20], logits, atol=1e-5)
    swapped = model(ids.flip(0), pixels.flip(0)).flip(0)
    assert torch.allclose(swapped, logits, atol=1e-5)
    assert not torch.allclose(model(ids, pixels.flip(0)), logits, atol=1e-2)
    assert torch.allclose(model(ids, pixels.flip(0))[:, :2], logits[:, :2], atol=1e-5)  # before the image: no change


def test_pixel_shuffle_joins_the_four_patches_of_a_square() -> None:
    config = ModelConfig.from_dict(
        model_json(vision={'hidden_size': 4, 'num_attention_heads': 1}, projector={'vit_hidden_size': 4})
    )
    projector = Projector(config)
    seen: list[Tensor] = []
    projector.norm.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    patches = torch.arange(16.0).view(1, 16, 1).expand(1, 16, 4)  # every channel holds the patch's number
    projector(torch.cat([torch.full((1, 1, 4), -1.0), patches], dim=1))
    numbers = [sorted(set(row.tolist())) for row in seen[0]]
    assert numbers == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
