"""The setting of Havrilla & Liao 2024: GPT-2 small on OpenWebText, data-scaled from a hundredth of the corpus upwards.

Needs an accelerator and the `hf` extra (or `tfds`: set corpus.kind). Look first, download nothing:

    jaxscale train configs/openwebtext_gpt2.py --dry-run
"""

from jaxscale.config import Corpus, Decoder, Dimension, Mesh, Optimizer, Run, Tokenizer, Training
from jaxscale.studies import DataScaling

config = DataScaling(
    run=Run(
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
            dtype="bfloat16",
        ),
        optimizer=Optimizer(
            learning_rate=6e-4,
            schedule="cosine",
            warmup_steps=2000,
            final_fraction=0.1,
            b1=0.9,
            b2=0.95,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        # 480 sequences of 1024: the 491 520 tokens a step of the authors' configuration. The schedule ends with the
        # data, so that runs of every n end at the same learning rate.
        training=Training(
            steps=600_000,
            epochs=4.0,
            batch_size=480,
            accumulation=30,
            evaluate_every=500,
            evaluation_sequences=2048,
            patience=0,
            log_every=20,
        ),
        mesh=Mesh(replica=1, fsdp=-1),
    ),
    sizes=(90_000_000, 280_000_000, 900_000_000, 2_800_000_000, 5_000_000_000, 8_500_000_000),
    seeds=(0, 1),
    dimension=Dimension(k=20, metric="cosine", points=3600, tokens_per_document=32),
)
