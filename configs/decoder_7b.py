"""A decoder of 6.7 billion parameters, of the shape of Llama 2 7B (Touvron et al. 2023), for a pod slice.

jaxscale compile configs/decoder_7b.py --topology tpu:v5p:4x4x4
jaxscale compile configs/decoder_7b.py --topology gpu:h100:4x8 --search
"""

from jaxscale.config import Corpus, Decoder, Mesh, Optimizer, Run, Tokenizer, Training

config = Run(
    corpus=Corpus(kind="hf", name="HuggingFaceFW/fineweb", subset="sample-100BT", held_out_fraction=0.0005),
    tokenizer=Tokenizer(kind="bpe", vocab_size=32_000),
    model=Decoder(
        layers=32,
        width=4096,
        heads=32,
        hidden=11_008,
        context=4096,
        activation="swiglu",
        positions="rotary",
        tied=False,
        norm="rms",
        dtype="bfloat16",
        attention="fused",
        scan=True,
    ),
    optimizer=Optimizer(
        learning_rate=3e-4,
        schedule="cosine",
        warmup_steps=2000,
        final_fraction=0.1,
        b1=0.9,
        b2=0.95,
        weight_decay=0.1,
        clip_norm=1.0,
    ),
    # 512 sequences of 4096: two million tokens a step.
    training=Training(
        steps=50_000,
        batch_size=512,
        remat="full",
        loss_chunks=16,
        evaluate_every=1000,
        evaluation_sequences=1024,
        log_every=10,
    ),
    mesh=Mesh(replica=1, fsdp=-1),
)
