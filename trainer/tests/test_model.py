"""The model's maths where a slip would still train: image order, causality, pixel shuffle; and transformers' own."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize('tied', [False, True])
@torch.no_grad()
def test_logits_are_those_of_transformers(tied: bool) -> None:
    hf = pytest.importorskip('transformers', reason='transformers is not in the trainer environment')
    model = build(text={'tie_word_embeddings': tied})
    vision = hf.InternVLVisionConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        attention_bias=True,
        intermediate_size=48,
        image_size=(28, 28),
        patch_size=(7, 7),
        use_mean_pooling=True,
    )
    text = hf.Qwen2Config(
        vocab_size=296,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_theta=1e6,
        tie_word_embeddings=tied,
    )
    config = hf.InternVLConfig(vision, text, image_token_id=5, image_seq_length=4, tie_word_embeddings=tied)
    theirs = hf.InternVLForConditionalGeneration(config).eval()
    left = theirs.load_state_dict(native(model.state_dict()), strict=False)
    assert left.unexpected_keys == [] and left.missing_keys == ['lm_head.weight'] * tied
    ids, pixels = prompt(3), torch.randn(3, 3, 28, 28)
    logits = theirs(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits
    assert logits.abs().max() > 1.0
    assert torch.allclose(model(ids, pixels), logits, atol=1e-5)


RENAMES = (
    ('image_encoder.encoder.embeddings.class_embedding', 'model.vision_tower.embeddings.cls_token'),
    ('image_encoder.encoder.embeddings.position_embedding', 'model.vision_tower.embeddings.position_embeddings'),
    ('image_encoder.encoder.embeddings.patch_embedding', 'model.vision_tower.embeddings.patch_embeddings.projection'),
    ('image_encoder.encoder.encoder.layers.', 'model.vision_tower.encoder.layer.'),
    ('image_encoder.projector.linear_fc', 'model.multi_modal_projector.linear_'),
    ('image_encoder.projector.norm', 'model.multi_modal_projector.layer_norm'),
    ('text_decoder.embedding.word_embeddings', 'model.language_model.embed_tokens'),
    ('text_decoder.decoder.final_layernorm', 'model.language_model.norm'),
    ('text_decoder.decoder.layers.', 'model.language_model.layers.'),
    ('text_decoder.output_layer', 'lm_head'),
)
VISION = {
    'self_attention.linear_proj': 'attention.projection_layer',
    'mlp.linear_fc': 'mlp.fc',
    'pre_mlp_layernorm': 'layernorm_after',
    'input_layernorm': 'layernorm_before',
    '.ls': '.lambda_',
}
TEXT = {
    'self_attention.linear_proj': 'self_attn.o_proj',
    'mlp.linear_fc2': 'mlp.down_proj',
    'pre_mlp_layernorm': 'post_attention_layernorm',
}


def native(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """MindSpeed MM's names and merged tensors to those of transformers' own InternVL, independently."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        prefix, replacement = next(pair for pair in RENAMES if name.startswith(pair[0]))
        name = replacement + name[len(prefix) :]
        for old, new in (TEXT if 'language_model.layers' in name else VISION).items():
            name = name.replace(old, new)
        if 'linear_qkv' in name and 'vision' in name:
            parts = dict(zip(('attention.q_proj', 'attention.k_proj', 'attention.v_proj'), value.chunk(3), strict=True))
            found |= {name.replace('self_attention.linear_qkv', to): part for to, part in parts.items()}
        elif 'linear_qkv' in name:
            groups = value.view(2, 4, 8, *value.shape[1:])  # two KV groups of two query heads, one k, one v
            for to, part in (('q', groups[:, :2]), ('k', groups[:, 2]), ('v', groups[:, 3])):
                renamed = name.replace('self_attention.linear_qkv', f'self_attn.{to}_proj')
                found[renamed] = part.reshape(-1, *value.shape[1:])
        elif 'mlp.linear_fc1' in name:
            gate, up = value.chunk(2)
            found |= {name.replace('linear_fc1', 'gate_proj'): gate, name.replace('linear_fc1', 'up_proj'): up}
        else:
            found[name] = value
    return found
