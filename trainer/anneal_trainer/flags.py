"""Megatron and MindSpeed MM flags of real launch scripts: those that mean nothing on a CPU, and those refused."""

from __future__ import annotations

SWITCHES = frozenset(
    """
    bf16 fp16 use-flash-attn use-fused-rmsnorm use-fused-swiglu use-fused-rotary-pos-emb swiglu no-masked-softmax-fusion
    no-gradient-accumulation-fusion no-bias-gelu-fusion no-bias-swiglu-fusion no-bias-dropout-fusion no-rope-fusion
    no-persist-layer-norm sequence-parallel unaligned-linear overlap-grad-reduce overlap-param-gather overlap-p2p-comm
    group-query-attention untie-embeddings-and-output-weights disable-bias-linear add-qkv-bias use-mcore-models
    use-deter-comp npu-deterministic trust-remote-code attention-softmax-in-fp32 accumulate-allreduce-grads-in-fp32
    recompute-activations recompute-skip-core-attention recompute-activation-function log-throughput log-tps
    log-timers-to-tensorboard log-params-norm log-num-zeros-in-grad log-memory-to-tensorboard log-progress
    no-check-for-nan-in-loss-and-grad check-for-nan-in-loss-and-grad reset-position-ids reset-attention-mask
    no-create-attention-mask-in-dataloader use-cpu-initialization no-shared-storage no-data-sharding
    no-sharded-optimizer distributed-optimizer-no-replica enable-dummy-optimizer encoder-dp-balance
    use-checkpoint-args no-initialization no-load-strict reuse-fp32-param defer-embedding-wgrad-compute
    """.split()
)

WITH_VALUE = frozenset(
    """
    mm-tool tokenizer-type tokenizer-model tokenizer-name-or-path vocab-size padded-vocab-size
    position-embedding-type rotary-base rotary-percent normalization norm-epsilon num-workers num-layers
    encoder-num-layers hidden-size ffn-hidden-size num-attention-heads num-query-groups kv-channels
    max-position-embeddings make-vocab-size-divisible-by attention-dropout hidden-dropout init-method-std
    eval-interval eval-iters split data-path dataloader-type recompute-granularity recompute-method
    recompute-num-layers attention-backend transformer-impl context-parallel-algo tensorboard-dir
    tensorboard-queue-size tensorboard-log-interval timing-log-level timing-log-option profile-ranks
    profile-step-start profile-step-end local-rank initial-loss-scale loss-scale min-loss-scale loss-scale-window
    hysteresis start-weight-decay end-weight-decay weight-decay-incr-style log-loss-scale-to-tensorboard
    manual-gc-interval wandb-project wandb-exp-name wandb-save-dir num-distributed-optimizer-instances
    expert-model-parallel-size optimizer
    """.split()
)

# What these ask for is not here, so taking them in silence would train something else than the user asked for.
REFUSED = {
    'virtual-pipeline-model-parallel-size': 'virtual pipeline stages are not built into the CPU trainer; leave it out',
    'num-layers-per-virtual-pipeline-stage': 'MindSpeed MM itself refuses this flag as deprecated; leave it out',
    'num-virtual-stages-per-pipeline-rank': 'MindSpeed MM itself refuses this flag as deprecated; leave it out',
    'lora-apply-modules': 'MindSpeed MM reads it nowhere; freeze what shall have no adapters in model.json',
    'lora-mixed-training': 'MindSpeed MM reads it nowhere; leave it out',
    'lora-register-forward-hook': 'it says where gradients begin under recomputing, which is not here; leave it out',
    'async-save': 'MindSpeed MM never finishes asynchronous saves; leave it out',
    'non-persistent-save-interval': 'MindSpeed MM never makes such saves; use --save-interval',
    'ckpt-step': "in Megatron it mixes one iteration's weights with another's counters; rewrite the tracker",
    'hetero-parallel': 'per-module parallel sizes are not built into the CPU trainer; use --dist-train',
    'use-torch-fsdp2': 'FSDP2 is not built into the CPU trainer; leave it out',
    'rampup-batch-size': 'a growing batch is not built into the CPU trainer; leave it out',
    'train-samples': 'give --train-iters; training by samples is not built into the CPU trainer',
    'calculate-per-token-loss': 'the CPU trainer averages over the answer tokens of a micro-batch; leave it out',
    'calculate-per-sample-loss': 'the CPU trainer averages over the answer tokens of a micro-batch; leave it out',
}
REFUSED_WITH_VALUE = frozenset(REFUSED) - {
    'async-save',
    'hetero-parallel',
    'use-torch-fsdp2',
    'calculate-per-sample-loss',
    'calculate-per-token-loss',
}
