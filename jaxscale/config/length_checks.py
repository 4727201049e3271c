"""What must fit together in studies of length generalization, told before anything is trained."""

from jaxscale.config.conditions import need, positive


def validate_lengths(study):
    """Raises InputError if a `LengthStudy` contradicts itself."""
    _distinct(study, "train_lengths", "seeds", "omegas", "periods", "orders", "alphabets", "epsilons", "test_lengths")
    positive(study.network, "network.", "width heads hidden")
    positive(study.training, "training.", "steps batch_size learning_rate checkpoint_every")
    need(study.samples >= 64, "samples", study.samples, "must be at least 64 for a mean.")
    need(all(e > 0 for e in study.epsilons), "epsilons", study.epsilons, "must be positive errors.")
    _interval(study)
    need(min(study.train_lengths) >= 1, "train_lengths", study.train_lengths, "must be positive.")
    need(
        min(study.test_lengths) >= 1 and max(study.test_lengths) <= 2**24,
        "test_lengths",
        study.test_lengths,
        "must lie between 1 and 2^24.",
    )
    if study.task == "simple":
        need(all(o > 0 for o in study.omegas), "omegas", study.omegas, "must be positive frequencies.")
        _shortest(study, 1, "omegas")
    elif study.task == "mod_p":
        need(min(study.periods) >= 1, "periods", study.periods, "must be positive. 2 is the least not trivial.")
        _shortest(study, max(study.periods), "periods")
        _congruent(study)
    else:
        need(min(study.orders) >= 1, "orders", study.orders, "must be at least 1.")
        need(
            min(study.alphabets) >= 2,
            "alphabets",
            study.alphabets,
            "must be at least 2: strings over one symbol are all alike.",
        )
        need(
            study.network.heads >= max(study.orders),
            "network.heads",
            study.network.heads,
            f"must be at least the largest order, {max(study.orders)}: a head looks one token back. Give more heads.",
        )
        _shortest(study, max(study.orders) + 1, "orders")


def validate_positions(study):
    """Raises InputError if a `PositionStudy` contradicts itself or asks a task for what it has not."""
    from jaxscale.lengths.algorithmic import ALGORITHMIC as tasks  # loads jax

    _distinct(study, "tasks", "encodings", "seeds", "test_bins")
    for name in study.tasks:
        need(name in tasks, "tasks", name, f"is not one of {', '.join(tasks)}. Choose some of them.")
    positive(study, "", "longest_train steps batch_size learning_rate checkpoint_every samples")
    model = study.model
    positive(model, "model.", "layers width heads hidden")
    need(
        model.width % model.heads == 0 and ("rotary" not in study.encodings or model.width // model.heads % 2 == 0),
        "model.heads",
        model.heads,
        f"must divide model.width={model.width}, for rotary into heads of even width. Choose another number of heads.",
    )
    need(
        list(study.test_bins) == sorted(study.test_bins) and study.test_bins[0] == study.longest_train,
        "test_bins",
        study.test_bins,
        f"must increase and begin with longest_train={study.longest_train}, the range that is trained on.",
    )
    for name in study.tasks:
        task = tasks[name]
        need(
            study.longest_train > task.shortest,
            "longest_train",
            study.longest_train,
            f"must exceed {task.shortest}, the shortest prompt of {name}. Raise it.",
        )
        need(
            task.longest is None or study.test_bins[-1] <= task.longest,
            "test_bins",
            study.test_bins,
            f"exceed {task.longest}, the longest prompt of {name}. Lower the last one.",
        )
    need(0 < study.fitted <= 1, "fitted", study.fitted, "must lie in (0, 1]. 0.99 is usual.")
    need(study.regularizer >= 0, "regularizer", study.regularizer, "must be 0 or more. 1e-3 is usual.")
    _interval(study)


def _shortest(study, least, field):
    length = min(study.train_lengths)
    need(
        length >= least,
        "train_lengths",
        length,
        f"is below {least}, the shortest string that every one of {field}={getattr(study, field)} speaks of. "
        "Train on longer strings.",
    )


def _congruent(study):
    """With a fixed train length the query's residue is fixed too, and a test at another one asks for the untrained."""
    if study.train_on == "up_to":
        return
    for period in study.periods:
        for length in study.train_lengths:
            other = [test for test in study.test_lengths if test % period != length % period]
            need(
                not other,
                "test_lengths",
                other[0] if other else None,
                f"is {other[0] % period if other else 0} mod {period}, but strings of train_on='fixed' with N={length} "
                f"always end at residue {length % period}: the network has never seen that query. "
                "Choose congruent lengths, or train_on='up_to'.",
            )


def _distinct(study, *names):
    for name in names:
        values = getattr(study, name)
        need(len(set(values)) == len(values) and values, name, values, "needs at least one value, none twice.")


def _interval(study):
    need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")
    for seed in study.seeds:
        need(0 <= seed < 2**31, "seeds", study.seeds, "must lie between 0 and 2**31.")
