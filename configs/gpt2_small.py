"""GPT-2 small, 124M parameters (Radford et al. 2019), with its norms and biases, in bfloat16 on sequences of 1024.

jaxscale compile configs/gpt2_small.py --topology tpu:v5e:4x4
jaxscale train configs/gpt2_small.py --workdir runs/gpt2 && jaxscale export runs/gpt2 --out gpt2-mine
"""

from jaxscale.config import Corpus, Decoder, Mesh, Optimizer, Run, Tokenizer, Training

config = Run(
    corpus=Corpus(kind="hf", name="Skylion007/openwebtext", held_out_fraction=0.0005),
    tokenizer=Tokenizer(kind="pretrained", name="gpt2", vocab_size=50257),
    model=Decoder(
        layers=12,
        width=768,
        heads=12,
        hidden=3072,
        context=1024,
        activation="gelu",
        positions="learned",
        tied=True,
        norm="layer",
        bias=True,
        dtype="bfloat16",
        attention="fused",
        scan=True,
    ),
    optimizer=Optimizer(
        learning_rate=6e-4,
        schedule="cosine",
        warmup_steps=700,
        final_fraction=0.1,
        b1=0.9,
        b2=0.95,
        weight_decay=0.1,
        clip_norm=1.0,
    ),
    # 512 sequences of 1024: half a million tokens a step.
    training=Training(
        steps=19_000,
        batch_size=512,
        remat="dots",
        loss_chunks=8,
        evaluate_every=500,
        evaluation_sequences=2048,
        log_every=20,
    ),
    mesh=Mesh(replica=1, fsdp=-1),
)
