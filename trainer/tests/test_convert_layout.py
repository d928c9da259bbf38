"""What hf_to_mm writes is what MindSpeed MM's converter writes: names, shapes, bits, directories."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from convert_support import LAYOUTS, ONE, UNEVEN, Layout, Tiny, fingerprint, hf_to_mm, load_rank, write_model

PART = 'TP4 and uneven PP2'
# fingerprints of what the converter of MindSpeed MM 2.2.0 itself (commit 67f617f0, hf_to_mm.convert_hf_to_mm) wrote
RECORDED = [
    (UNEVEN, 'one rank', '317afa1090574d54753139f0ed3e23851ee006af969b2c3a627135753bc816c3'),
    (UNEVEN, 'PP2', '216f0eeafd40ea9f9f9da6f87bd9344ffd1dd2615486afeb5f71a24d0bcbe116'),
    (
        UNEVEN,
        'uneven PP4 with stages without layers',
        '83a020a642b7e219b6bee8c80ccc6aa13aa582caf4ffcda5e63da88b991736f3',
    ),
    (UNEVEN, 'TP2', '6baaa7eec3632d3908196e70ac896208903e02670277037d48465687eb0935a3'),
    (UNEVEN, 'TP4 of six vision heads', '74626a23e5e3b194a43bdb2e5a921a7849ec0f3958a8dbbc55b5405a816b8bae'),
    (UNEVEN, PART, 'f05d479b95a72003b367a5e50f1268e07336de20212793fbcc801d34456bcb4e'),
    (UNEVEN, 'two virtual stages of PP2', 'c026ff55390b048a5ee39f79a522c17db0785acfc7eb7beaf869c2fe1ce88682'),
    (
        UNEVEN,
        'three virtual stages of PP2 with TP2',
        '1f477446743ea376fcca6468090defbf1844e8e197354be6307d3bf74c4385a4',
    ),
    (UNEVEN, 'vision TP1 beside language TP4', 'd6133c31a92cd873cb0d53c79b1b4398cf0a9dcc67218239dc4677d3f77cdb8d'),
    (UNEVEN, 'vision TP4 beside language TP2', 'ed841d101b0fea004b4cceb4d17369d2e58d73c0c92787939dcf9526fa6f0bd8'),
    (
        Tiny('LlamaForCausalLM', vocabulary=347),
        PART,
        'b889b61b139c7302cc4aad9e285dfe7072cf5f32447a163f2d4f974cb9539fb1',
    ),
    (
        Tiny('InternLM2ForCausalLM', vocabulary=347),
        PART,
        '481d37875bb2ae3349bc0aeb66e52345b5e0c2092584d523afb04963c1a61168',
    ),
    (Tiny(vocabulary=347, vision_norms=True), PART, '194f933a824accaa84bb1ed8a05cf02bb33cdd108567ab0ce591fa4119e5becb'),
    (Tiny(vocabulary=347, tied=True), PART, '8cb6a286f72a2ab9ab44c9a52e90e9e886a42bbca1727f7b5370ccacc242d3ad'),
]
LAYER = 'text_decoder.decoder.layers.0.'
VISION = 'image_encoder.encoder.encoder.layers.0.'


@pytest.mark.parametrize(('tiny', 'name', 'recorded'), RECORDED)
def test_a_checkpoint_equals_the_one_that_the_real_converter_wrote(
    tmp_path: Path, tiny: Tiny, name: str, recorded: str
) -> None:
    write_model(tmp_path / 'hf', tiny)
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', LAYOUTS[name]) == 0
    assert fingerprint(tmp_path / 'mm') == recorded


def convert(tmp_path: Path, tiny: Tiny, layout: Layout) -> tuple[dict[str, torch.Tensor], Path]:
    made = write_model(tmp_path / 'hf', tiny)
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', layout) == 0
    return made, tmp_path / 'mm'


def test_counts_and_shapes_are_those_recorded_from_the_real_converter(tmp_path: Path) -> None:
    made, mm = convert(tmp_path, Tiny(), ONE)
    payload = load_rank(mm, 'mp_rank_00')
    assert set(payload) == {'model', 'checkpoint_version'}
    assert payload['checkpoint_version'] == 3.0
    model = payload['model']
    assert (len(made), len(model)) == (103, 83)
    shapes = {name: tuple(value.shape) for name, value in model.items()}
    assert shapes[f'{LAYER}self_attention.linear_qkv.weight'] == (128, 64)
    assert shapes[f'{LAYER}self_attention.linear_qkv.bias'] == (128,)
    assert shapes[f'{LAYER}mlp.linear_fc1.weight'] == (192, 64)


def test_tensor_parallel_shapes_are_those_recorded_from_the_real_converter(tmp_path: Path) -> None:
    _, mm = convert(tmp_path, Tiny(), LAYOUTS['TP2'])
    shapes = {name: tuple(value.shape) for name, value in load_rank(mm, 'mp_rank_01')['model'].items()}
    assert shapes[f'{LAYER}self_attention.linear_qkv.weight'] == (64, 64)
    assert shapes[f'{LAYER}mlp.linear_fc1.weight'] == (96, 64)
    assert shapes['text_decoder.embedding.word_embeddings.weight'] == (80, 64)
    assert shapes[f'{VISION}self_attention.linear_qkv.weight'] == (72, 48)


def test_six_vision_heads_over_four_ranks_give_two_two_one_one(tmp_path: Path) -> None:
    made, mm = convert(tmp_path, UNEVEN, LAYOUTS['TP4 of six vision heads'])
    name = f'{VISION}self_attention.linear_qkv.weight'
    blocks = [load_rank(mm, f'mp_rank_{rank:02d}')['model'][name] for rank in range(4)]
    assert [block.shape[0] for block in blocks] == [48, 48, 24, 24]
    q, k, v = made['vision_model.encoder.layers.0.attn.qkv.weight'].chunk(3)
    assert torch.equal(blocks[2], torch.cat([part[32:40] for part in (q, k, v)]))


def test_queries_keys_and_values_of_the_language_model_lie_group_by_group(tmp_path: Path) -> None:
    made, mm = convert(tmp_path, UNEVEN, ONE)
    merged = load_rank(mm, 'mp_rank_00')['model'][f'{LAYER}self_attention.linear_qkv.bias']
    q, k, v = (made[f'language_model.model.layers.0.self_attn.{part}_proj.bias'] for part in 'qkv')
    # 8 heads in 4 groups of 8 rows a head: each group has 16 rows of q, 8 of k, 8 of v
    assert torch.equal(merged[32:64], torch.cat([q[16:32], k[8:16], v[8:16]]))


def test_odd_vocabularies_give_the_first_ranks_one_row_more(tmp_path: Path) -> None:
    made, mm = convert(tmp_path, UNEVEN, LAYOUTS['TP2'])
    name = 'text_decoder.output_layer.weight'
    blocks = [load_rank(mm, f'mp_rank_{rank:02d}')['model'][name] for rank in range(2)]
    assert [block.shape[0] for block in blocks] == [174, 173]
    assert torch.equal(torch.cat(blocks), made['language_model.lm_head.weight'])


def test_rank_directories_are_numbered_as_megatron_does_and_the_tracker_says_release(tmp_path: Path) -> None:
    _, mm = convert(tmp_path, UNEVEN, LAYOUTS['TP4 and uneven PP2'])
    expected = {f'mp_rank_{tp:02d}_{pp:03d}' for tp in range(4) for pp in range(2)}
    assert {path.name for path in (mm / 'release').iterdir()} == expected
    assert {path.name for path in mm.rglob('*') if path.is_file()} == {
        'model_optim_rng.pt',
        'latest_checkpointed_iteration.txt',
    }
    assert (mm / 'latest_checkpointed_iteration.txt').read_bytes() == b'release'


def layers(model: dict[str, torch.Tensor], prefix: str) -> set[int]:
    return {int(name.removeprefix(prefix).partition('.')[0]) for name in model if name.startswith(prefix)}


def test_stages_start_at_layer_zero_and_ends_lie_on_the_outer_stages_that_have_layers(tmp_path: Path) -> None:
    _, mm = convert(tmp_path, UNEVEN, LAYOUTS['uneven PP4 with stages without layers'])
    stages = [load_rank(mm, f'mp_rank_00_{rank:03d}')['model'] for rank in range(4)]
    assert [layers(stage, 'text_decoder.decoder.layers.') for stage in stages] == [set(), {0}, {0, 1, 2}, set()]
    assert [layers(stage, 'image_encoder.encoder.encoder.layers.') for stage in stages] == [{0}, {0, 1}, set(), set()]
    holders = {
        'image_encoder.encoder.embeddings.class_embedding': 0,
        'image_encoder.projector.norm.weight': 1,
        'text_decoder.embedding.word_embeddings.weight': 1,
        'text_decoder.decoder.final_layernorm.weight': 2,
        'text_decoder.output_layer.weight': 2,
    }
    for name, stage in holders.items():
        assert [number for number in range(4) if name in stages[number]] == [stage], name
    assert stages[3] == {}


def test_virtual_stages_become_chunks_filled_row_by_row(tmp_path: Path) -> None:
    made, mm = convert(tmp_path, UNEVEN, LAYOUTS['two virtual stages of PP2'])
    first, second = (load_rank(mm, f'mp_rank_00_{rank:03d}') for rank in range(2))
    assert set(first) == set(second) == {'model0', 'model1', 'checkpoint_version'}
    # llm [[0,1],[2,1]]: rank 1 holds layer 0 in model0 and layer 3 in model1, rank 0 holds 1 and 2 in model1
    name = f'{LAYER}mlp.linear_fc2.weight'
    down = [made[f'language_model.model.layers.{number}.mlp.down_proj.weight'] for number in range(4)]
    assert torch.equal(second['model0'][name], down[0])
    assert torch.equal(first['model1'][name], down[1])
    assert torch.equal(second['model1'][name], down[3])


def test_a_tied_model_has_an_output_layer_only_where_a_pipeline_needs_one(tmp_path: Path) -> None:
    made, mm = convert(tmp_path, Tiny(tied=True), ONE)
    assert 'text_decoder.output_layer.weight' not in load_rank(mm, 'mp_rank_00')['model']
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'pp', LAYOUTS['PP2']) == 0
    first, last = (load_rank(tmp_path / 'pp', f'mp_rank_00_{rank:03d}')['model'] for rank in range(2))
    assert 'text_decoder.output_layer.weight' not in first
    embedding = made['language_model.model.embed_tokens.weight']
    assert torch.equal(last['text_decoder.output_layer.weight'], embedding)


def test_files_hold_no_more_bytes_than_their_tensors(tmp_path: Path) -> None:
    _, mm = convert(tmp_path, UNEVEN, LAYOUTS['TP4 of six vision heads'])
    for path in mm.rglob('*.pt'):
        model = torch.load(path, weights_only=True)['model']
        payload = sum(value.numel() * value.element_size() for value in model.values())
        # names, shapes and zip records cost at most about 500 bytes a tensor; a saved view would cost its whole storage
        assert path.stat().st_size < payload + 500 * len(model)


def test_folders_and_files_have_the_rights_of_the_real_converter(tmp_path: Path) -> None:
    _, mm = convert(tmp_path, UNEVEN, ONE)
    for path in (mm, *mm.rglob('*')):
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path
