"""What the dimension of a small decoder's embeddings depends on: its shape, its text, and how it is measured.

jaxscale study configs/dimension_ablation.py --workdir runs/ablation
"""

from jaxscale.config import Corpus, Decoder, Dimension, Optimizer, Run, Tokenizer, Training
from jaxscale.studies import DimensionAblation

config = DimensionAblation(
    run=Run(
        corpus=Corpus(kind="stdlib", passage=256),
        tokenizer=Tokenizer(kind="bpe", vocab_size=512),
        model=Decoder(layers=2, width=64, heads=2, hidden=256, context=64),
        optimizer=Optimizer(schedule="constant", learning_rate=3e-3, warmup_steps=20, weight_decay=0.1),
        training=Training(
            steps=1500,
            batch_size=32,
            evaluate_every=5,
            evaluate_growth=0.1,
            evaluation_sequences=256,
            patience=3,
            checkpoint_every=5,
            log_every=50,
        ),
        tokens=65536,
    ),
    dimension=Dimension(k=20, metric="cosine", points=1600, tokens_per_document=200),
    seeds=(0, 1),
    widths=(32, 128),
    layers=(1, 4),
    heads=(1, 4),
    contexts=(16, 32),
    corpora=("docstrings", "reference", "grammar"),
    ks=(5, 10, 40, 80),
    points=(400, 800),
    estimators=("twonn", "gride", "tle"),
    positions=4,
)
