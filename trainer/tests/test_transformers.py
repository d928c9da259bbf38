"""The published model is InternVL: `transformers`' own class gives the same logits."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from anneal_trainer.digits import load_scans, scan_to_image
from anneal_trainer.hf_config import image_token_id
from anneal_trainer.hf_load import load_model
from anneal_trainer.images import load_image
from anneal_trainer.text import ChatEncoder

# Another model, such as one that a run has published, can be compared by naming its folder.
BASE = Path(os.environ.get('ANNEAL_COMPARE_MODEL', Path(__file__).resolve().parent.parent / 'base' / 'internvl3-tiny'))
torch.set_num_threads(1)

VISION = {
    'embeddings.class_embedding': 'embeddings.cls_token',
    'embeddings.position_embedding': 'embeddings.position_embeddings',
    'embeddings.patch_embedding': 'embeddings.patch_embeddings.projection',
    'attn.proj': 'attention.projection_layer',
    'norm1': 'layernorm_before',
    'norm2': 'layernorm_after',
    'ls1': 'lambda_1',
    'ls2': 'lambda_2',
}
PROJECTOR = {'mlp1.0': 'layer_norm', 'mlp1.1': 'linear_1', 'mlp1.3': 'linear_2'}


def native_tensors(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the original layout under the names of the native one; the fused vision qkv is cut in three."""
    native: dict[str, Tensor] = {}
    for name, value in original.items():
        if name.startswith('vision_model.'):
            target = name.removeprefix('vision_model.').replace('encoder.layers.', 'encoder.layer.')
            for old, new in VISION.items():
                target = re.sub(rf'(^|\.){re.escape(old)}(\.|$)', rf'\g<1>{new}\g<2>', target)
            target = f'model.vision_tower.{target}'
            if '.attn.qkv.' in target:
                for part, third in zip('qkv', value.chunk(3), strict=True):
                    native[target.replace('.attn.qkv.', f'.attention.{part}_proj.')] = third.contiguous()
            else:
                native[target] = value
        elif name.startswith('mlp1.'):
            module, leaf = name.rsplit('.', 1)
            native[f'model.multi_modal_projector.{PROJECTOR[module]}.{leaf}'] = value
        elif name == 'language_model.lm_head.weight':
            native['lm_head.weight'] = value
        else:
            native[name.replace('language_model.model.', 'model.language_model.')] = value
    return native


def native_model(folder: Path) -> Any:
    """transformers' InternVLForConditionalGeneration with the weights of an original-layout folder."""
    config = json.loads((folder / 'config.json').read_text())
    vision, text = config['vision_config'], config['llm_config']
    same = ('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'hidden_act')
    settings = transformers.InternVLConfig(
        vision_config={name: vision[name] for name in same}
        | {
            'image_size': [vision['image_size']] * 2,
            'patch_size': [vision['patch_size']] * 2,
            'attention_bias': vision['qkv_bias'],
            'use_qk_norm': vision['qk_normalization'],
            'norm_type': vision['norm_type'],
            'layer_norm_eps': vision['layer_norm_eps'],
            'use_mask_token': False,
            'use_absolute_position_embeddings': True,
        },
        text_config={'model_type': 'qwen2'}
        | {name: text[name] for name in same}
        | {
            'num_key_value_heads': text['num_key_value_heads'],
            'vocab_size': text['vocab_size'],
            'max_position_embeddings': text['max_position_embeddings'],
            'rms_norm_eps': text['rms_norm_eps'],
            'rope_theta': text['rope_theta'],
            'rope_parameters': {'rope_type': 'default', 'rope_theta': text['rope_theta']},
            'tie_word_embeddings': text['tie_word_embeddings'],
        },
        image_token_id=image_token_id(folder),
        image_seq_length=4,
        downsample_ratio=config['downsample_ratio'],
        vision_feature_layer=config['select_layer'],
        tie_word_embeddings=config['tie_word_embeddings'],
    )
    model = transformers.InternVLForConditionalGeneration(settings).eval()
    missing, unexpected = model.load_state_dict(native_tensors(load_file(folder / 'model.safetensors')), strict=False)
    assert not missing
    assert not unexpected
    return model


def test_our_logits_are_those_of_transformers_own_internvl(tmp_path: Path) -> None:
    encoder = ChatEncoder(BASE, 4)
    ids = torch.tensor([encoder.encode_prompt('Which corner has the most ink?')] * 32)
    pixels = []
    for index, scan in enumerate(load_scans()[0][:32]):
        scan_to_image(scan).save(tmp_path / f'{index}.png')
        pixels.append(load_image(tmp_path / f'{index}.png', 28))
    images = torch.stack(pixels)
    with torch.no_grad():
        ours = load_model(BASE)(ids, images)
        theirs = native_model(BASE)(input_ids=ids, pixel_values=images).logits
    difference = (ours - theirs).abs().max().item()
    print(f'largest difference of {ours.numel()} logits: {difference:.3g}, largest logit {ours.abs().max().item():.3g}')
    assert ours.std() > 1
    # Two programs add in different orders; the models are the same if the difference is rounding.
    assert difference < 1e-4


def test_transformers_reads_the_tokenizer_and_gives_the_same_ids() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(BASE))
    text = '<|im_start|>user\n<img><IMG_CONTEXT></img>\nWhich digit is this?<|im_end|>\n'
    encoder = ChatEncoder(BASE, 4)
    assert tokenizer(text, add_special_tokens=False).input_ids == encoder.tokenizer.encode(text).ids
    assert tokenizer.convert_tokens_to_ids('<IMG_CONTEXT>') == image_token_id(BASE)
    assert tokenizer.eos_token == '<|im_end|>'
