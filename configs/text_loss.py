"""From real text to a verdict on a laptop: fourteen small decoders on the Python standard library, in minutes.

jaxscale study configs/text_loss.py --workdir runs/text_loss
"""

from jaxscale.config import Corpus, Decoder, Dimension, Optimizer, Run, Tokenizer, Training
from jaxscale.studies import DataScaling

config = DataScaling(
    run=Run(
        # Whole files are longer than the smallest n; passages make every n a sample of the whole library.
        corpus=Corpus(kind="stdlib", passage=256),
        tokenizer=Tokenizer(kind="bpe", vocab_size=512),
        model=Decoder(layers=2, width=64, heads=2, hidden=256, context=64),
        # A flat rate and early stopping: at every n the loss is followed to its minimum and a fifth of the way beyond.
        optimizer=Optimizer(schedule="constant", learning_rate=3e-3, warmup_steps=20, weight_decay=0.1),
        training=Training(
            steps=2500,
            batch_size=32,
            evaluate_every=5,
            evaluate_growth=0.05,
            evaluation_sequences=512,
            patience=4,
            checkpoint_every=4,
            log_every=25,
        ),
    ),
    sizes=(2048, 4096, 8192, 16384, 32768, 65536, 131072),
    seeds=(0, 1),
    beta=1.0,
    dimension=Dimension(k=20, metric="cosine", points=3600, tokens_per_document=64),
)
