"""What the examples of docstrings take for given, as Python that runs before them.

Names in `EVERYWHERE`, public names of the packages around a docstring, and the names of its module are there already.
Shapes are few, so that examples share compiled programs. What takes long is replaced by `only_bound(function, result)`:
the call must fit the signature, and gives the result.
"""

EVERYWHERE = """
import functools, pathlib
import jax, numpy, rich.console
import jax.numpy as jnp
import numpy as np
from jaxscale import config, files
rng = np.random.default_rng(0)
key = jax.random.key(0)
x = jnp.asarray(rng.uniform(size=(400, 5)), jnp.float32)
"""

# Of limit transformers.
STRING = """
tokens_T, length = jax.random.randint(key, (16,), 0, 2), 12
"""

# A loss of N and D over five budgets, as a table.
TABLE = """
C = np.repeat(np.geomspace(1e19, 3e21, 5), 5)
N = np.sqrt(C / 120) * np.tile(np.geomspace(0.2, 5.0, 5), 5)
D = C / 6 / N
loss = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.003 * rng.normal(size=25))
table = {"N": N, "D": D, "loss": loss}
"""

FIT = TABLE + "from jaxscale import laws\nfit = laws.fit(table, 'chinchilla', key=key, resamples=100)"

# A decoder as small as it goes, and tokens for it.
DECODER = """
from jaxscale.models import Decoder
small = config.Decoder(layers=1, width=16, heads=2, hidden=32, context=16)
tokens_BxT, tokens_BxT1 = jnp.zeros((2, 16), jnp.int32), jnp.zeros((2, 17), jnp.int32)
model = Decoder(small, vocab_size=257)
params = jax.jit(model.init)(key, tokens_BxT)["params"]
"""

RUN = """
small = config.Decoder(layers=1, width=16, heads=2, hidden=32, context=16)
training = config.Training(steps=4, batch_size=8)
run = faster = config.Run(tokenizer=config.Tokenizer(kind="bytes"), model=small, training=training, tokens=2048)
"""

# Tokens as `data.prepare` leaves them.
STORE = """
store = data.store.Store(*[data.store.Split(np.zeros(70_000, np.uint16), np.arange(2) * 70_000)] * 2, 257, {})
"""

# A program compiled for eight processors, which need no compiler of their own.
COMPILED = """
from jaxscale.ahead import topologies
from jaxscale.sharding import make_mesh
describe = topologies.describe
eight = describe("cpu:8")
monkeypatch.setattr(topologies, "describe", only_bound(describe, eight))
"""

NETWORK = """
x, y, z = inputs("x y z", lower=-1, upper=1)
points = points_BxD = rng.uniform(-1, 1, size=(8, 3))
network = compile(x * y + maximum(z, 0.3))
"""

APPROXIMATED = """
points = rng.uniform(size=(8, 2))
f = lambda points: abs(points).max(axis=1)
"""

# A study takes minutes; it is given its configuration, which is checked.
STUDY = """
from jaxscale import studies
run = only_bound(run)
render = only_bound(render) if "render" in globals() else None
"""

MANIFOLDS = """
from jaxscale import studies
from jaxscale.studies.manifolds.problem import make_problem
study = studies.ManifoldStudy(sizes=(64, 128, 256, 512), seeds=(0,), validation=64, test=64, ambient=8)
objective, n, seed = study.objective, 64, 0
"""

GIVEN = {
    "jaxscale": "embeddings = x",
    "jaxscale.ahead": COMPILED + RUN + "ahead.describe = topologies.describe",
    "jaxscale.ahead.compiled": "compiled = jax.jit(lambda x: x @ x.T).lower(x).compile()",
    "jaxscale.ahead.hlo": "compiled = jax.jit(lambda x: x @ x.T).lower(x).compile()",
    "jaxscale.ahead.mesh_search": COMPILED + RUN + "search = only_bound(search, {'rows': [{'flags': ''}]})",
    "jaxscale.ahead.roofline": COMPILED
    + """
from jaxscale.ahead.compiled import read
topology = eight
mesh = make_mesh(config.Mesh(), topology.devices)
program = read(jax.jit(lambda x: x @ x.T).lower(x).compile().as_text())
from jaxscale.ahead.step import with_chip
topology, _ = with_chip(topology)
""",
    "jaxscale.ahead.step": COMPILED + RUN,
    "jaxscale.ahead.topologies": COMPILED + RUN + "describe = topologies.describe",
    "jaxscale.config": "import os; os.chdir(ROOT)",
    "jaxscale.constructions": "points = rng.uniform(size=(8, 3))\nf = lambda points: abs(points).max(axis=1)",
    "jaxscale.constructions.atlases": "from jaxscale.constructions.manifolds import torus\n"
    "from jaxscale.constructions.cloud_atlas import from_points\n"
    "angle = np.linspace(0, 6, 200)\ncloud = np.stack([np.cos(angle), np.sin(angle)], axis=1)",
    "jaxscale.constructions.capacity": NETWORK + "kappa = 10.0",
    "jaxscale.constructions.certificate": APPROXIMATED
    + "approximation = approximate(f, 2, grid=2, holder=Holder(1.0))",
    "jaxscale.constructions.claims": APPROXIMATED + "from jaxscale.constructions.expressions import inputs\n"
    "x, y = inputs('x y', lower=0, upper=1)\nprogram = x * y",
    "jaxscale.constructions.cube": APPROXIMATED,
    "jaxscale.constructions.encodings": "encoding = named('parabola')",
    "jaxscale.constructions.executors": NETWORK,
    "jaxscale.constructions.export": NETWORK,
    "jaxscale.constructions.expressions": "points_BxD = rng.uniform(size=(8, 3))",
    "jaxscale.constructions.interaction": "from jaxscale.constructions.encodings import named\n"
    "encoding = named('parabola')\nquery = key = np.ones((1, 1, 5))",
    "jaxscale.constructions.manifold": "f = lambda points: points[:, 0]",
    "jaxscale.constructions.network": NETWORK,
    "jaxscale.constructions.pairwise": NETWORK + "program = x * y",
    "jaxscale.constructions.primitives": NETWORK + "z = z + 3",
    "jaxscale.constructions.structured": NETWORK + "program = x * y",
    "jaxscale.constructions.study": "encoding_study = only_bound(encoding_study)",
    "jaxscale.constructions.training": NETWORK + "x, y = points, points[:, 0]\ntrain = only_bound(train, train(network"
    ".module(), network.variables(), x, y, parts='readout', steps=2))",
    "jaxscale.data.batches": STORE + "from jax.sharding import SingleDeviceSharding\n"
    "step, sharding = 3, SingleDeviceSharding(jax.devices()[0])",
    "jaxscale.data.corpora": "pathlib.Path('books').mkdir()\npathlib.Path('books/one.txt').write_text('text')",
    "jaxscale.data.fields": "x_NxW = x[:, :3]",
    "jaxscale.data.languages": "from jaxscale.data.fields import weierstrass\n"
    "fields = [weierstrass(2, 0.5, 3, key=k) for k in jax.random.split(key, 4)]",
    "jaxscale.data.manifolds": "benchmark = lambda: {'': sphere(2)}",
    "jaxscale.data.point_files": "np.save('embeddings.npy', rng.uniform(size=(20_000, 2)))\n"
    "from safetensors.numpy import save_file\nsave_file({'wte.weight': rng.uniform(size=(20_000, 2))}, "
    "'model.safetensors')\nnp.savez('states.npz', **{f'layer {i}': rng.uniform(size=(4, 5, 6)) for i in range(4)})",
    "jaxscale.data.records": "import io\nstream = io.BufferedReader(io.BytesIO(b'{}'))",
    "jaxscale.data.store": STORE + "prepare = only_bound(prepare, store)",
    "jaxscale.data.text_files": "pathlib.Path('books').mkdir()\npathlib.Path('books/one.txt').write_text('text')",
    "jaxscale.data.text_paths": "pathlib.Path('books').mkdir()\npathlib.Path('books/one.txt').write_text('text')\n"
    "skip = lambda *said: None",
    "jaxscale.data.tokenizers": "texts = [f'{i} def f(x):' for i in range(500)]",
    "jaxscale.dimension.calibration": "calibrate = only_bound(calibrate, types.SimpleNamespace(dimension=0, "
    "standard_error=0, bias=0))",
    "jaxscale.dimension.differences": "layers = jnp.stack([x] * 7)\ndifference = only_bound(difference, "
    "types.SimpleNamespace(interval=tuple))",
    "jaxscale.dimension.duplicates": "points, used, copies, k = x, jnp.ones(400, bool), jnp.ones(400, jnp.int32), 20\n"
    "unit, center = jnp.float32(1e-7), jnp.zeros(5)",
    "jaxscale.dimension.estimators.danco": "danco_references = only_bound(danco_references)\ndanco = only_bound(danco)",
    "jaxscale.dimension.estimators.mada.mada": "from math import log\nk, h, T_k, T_h = 20, 10, 2.0, 1.0",
    "jaxscale.dimension.estimators.pairs": "points, used, levels = x, jnp.ones(400, bool), jnp.array([0.0, 1.0])\n"
    "score = lambda x, y, used_x, used_y: x @ y.T",
    "jaxscale.dimension.estimators.reference_balls": "danco_references = only_bound(danco_references)",
    "jaxscale.dimension.estimators.signal_rank": "eigenvalues = jnp.sort(rng.exponential(size=50))[::-1]",
    "jaxscale.dimension.estimators.spanning_tree": "points = x",
    "jaxscale.dimension.eigenvalues": "matrix_DxD = jnp.eye(3)",
    "jaxscale.dimension.estimators.spectra": "eigenvalues, rank = jnp.array([3.0, 2.0, 0.1]), 3",
    "jaxscale.dimension.page": "from jaxscale.dimension.summary import summary\n"
    "cloud = {'cloud': 'x', 'shape': [400, 5]}\nsummary(x, ['mle'], ks=[4, 8], into=cloud)\n"
    "from jaxscale.dimension.conclusion import conclude\nfrom jaxscale.verdict import Stopwatch\n"
    "measured = conclude({'k': 20, 'metric': 'euclidean', 'seed': 0, 'clouds': [cloud]}, Stopwatch(), False)",
    "jaxscale.dimension.place": "layers = jnp.stack([x, x])\n"
    "position, document = np.arange(400) % 2, np.arange(400) // 4",
    "jaxscale.dimension.residuals": "hoods = dimension.neighborhoods(x, 16)",
    "jaxscale.dimension.scale_reading": "import functools\nby_k = functools.partial(by_k, ks=(4, 8, 16))",
    "jaxscale.dimension.samples": "hidden = jnp.ones((2, 16, 768))\nmle = only_bound(mle)",
    "jaxscale.dimension.search.exact": "points, mask, own, scale, k = x, jnp.ones(400, bool), jnp.arange(400), 1.0, 20",
    "jaxscale.dimension.search.fused_products": "points_TxBxD = jnp.ones((2, 16, 128))\n"
    "as_query_TxB = as_key_TxB = jnp.ones((2, 16))\nrow, first, start, span, group = 0, 0, 0, 2, 8\n"
    "best_of_tile = only_bound(best_of_tile, (None, None))  # a GPU's",
    "jaxscale.dimension.search.nearest": "",
    "jaxscale.dimension.search.parts": "first_part, second_part, queries = x[:200], x[200:], x\n"
    "mask, scale, k = jnp.ones(200, bool), 1.0, 20",
    "jaxscale.dimension.search.ring": "from jaxscale.dimension.points import row_sharding\n"
    "from jax.sharding import Mesh, NamedSharding, PartitionSpec\nmesh = Mesh(jax.devices(), 'rows')\n"
    "points = jax.device_put(x, NamedSharding(mesh, PartitionSpec('rows')))\nmask, k = jnp.ones(400, bool), 20",
    "jaxscale.dimension.search.streaming": "np.save('embeddings.npy', np.asarray(x))",
    "jaxscale.encoded": "import gzip\npathlib.Path('a.txt.gz').write_bytes(gzip.compress(b'text'))",
    "jaxscale.ensembles": """
import optax
init = lambda key: jax.random.normal(key, (3,))
optimizer = optax.scale_by_adam()
members = jnp.arange(8.0)
loss = lambda params, member, step, drawn: jnp.sum((params - member) ** 2)
move = lambda params, updates, member, step: jax.tree.map(lambda p, u: p - 0.1 * u, params, updates)
""",
    "jaxscale.laws": TABLE + "monkeypatch.setattr(laws, 'fit', functools.partial(laws.fit, resamples=100))",
    "jaxscale.laws.answers": FIT,
    "jaxscale.laws.catalogue": "",
    "jaxscale.laws.compute_optimal": FIT + "\nisoflop, envelope = only_bound(isoflop), only_bound(envelope)",
    "jaxscale.laws.cells": "rows = [{'n': '70M', 'loss': '3,25'}]",
    "jaxscale.laws.conditions": "rows = [{'dataset': 'c4', 'N': 1e9, 'optimizer': 'adam'}]",
    "jaxscale.laws.decoding": "path = pathlib.Path('runs.csv')\npath.write_text('n,loss')",
    "jaxscale.laws.event_files": "folder = pathlib.Path('runs')\n"
    "runs, rows = only_bound(runs), only_bound(rows, ([], []))",
    "jaxscale.laws.flops": FIT + "\nfrom jaxscale.laws import frontier\n"
    "table |= {'layers': np.full(25, 8.0), 'width': np.full(25, 512.0), 'context': np.full(25, 1024.0)}",
    "jaxscale.laws.page": "document = {}\n"
    "print_law, write_law_page = only_bound(print_law), only_bound(write_law_page)",
    "jaxscale.laws.planning.page": "document = {}\nprint_plan = only_bound(print_plan)\n"
    "write_plan_page = only_bound(write_plan_page)",
    "jaxscale.laws.planning.wants": "from jaxscale import laws",
    "jaxscale.laws.results": FIT,
    "jaxscale.laws.selection": TABLE
    + "from jaxscale import laws\nmonkeypatch.setattr(laws, 'compare', only_bound(laws.compare, "
    "types.SimpleNamespace(by_criterion=None, by_forecast=None)))",
    "jaxscale.laws.side_by_side": TABLE
    + "from jaxscale import laws\nc4 = types.SimpleNamespace(parameters={'alpha': 0.3})\n"
    "each = SideBySide('dataset', {'c4': c4}, (SharedExponents(('alpha',), 0.0, 1, 1.0, {}),), '')\n"
    "monkeypatch.setattr(laws, 'fit_each', only_bound(laws.fit_each, each))",
    "jaxscale.laws.sweeps": TABLE + "table = {name: np.tile(x, 5) for name, x in table.items()}\n"
    "table['lr'] = np.repeat(np.geomspace(1e-4, 1e-2, 5), 25)\n"
    "table['loss'] = table['loss'] + 0.02 * np.log(table['lr'] / 1e-3) ** 2\n"
    "from jaxscale.laws.fitting import fit\nfit = functools.partial(fit, resamples=100)",
    "jaxscale.laws.table_files": "path = pathlib.Path('runs.csv')\n"
    "path.write_text('params,step,val/loss\\n1e6,10,3.5\\n2e6,10,3.0')",
    "jaxscale.laws.theory_check": FIT,
    "jaxscale.lengths": STRING + "tokens = tokens_T\n"
    "params = lengths.LimitTransformer(alphabet=2, period=3).init(key, tokens_T)['params']",
    "jaxscale.lengths.adversarial": "task, length = SimpleTask(4.0), 12\nk_gram = KGramTask(1, 2, 2, 1)",
    "jaxscale.lengths.certificates": STRING + "from jaxscale.lengths import proportional\n"
    "short = proportional(tokens_T, length, budget=8, alphabet=2)\nf = g = lambda tokens, length: tokens[:1]",
    "jaxscale.lengths.complexities": STRING + "from jaxscale.lengths import LimitTransformer\n"
    "net = LimitTransformer(alphabet=2, period=3)\nparams = net.init(key, tokens_T)['params']",
    "jaxscale.lengths.constructions": STRING,
    "jaxscale.lengths.evaluation": STRING
    + """
from jaxscale.lengths.sweep import start
net = LimitTransformer(alphabet=2, period=1)
task = SimpleTask(omega=4.0)
cells = Cells(task=SimpleTask(omega=jnp.array([4.0, 8.0])), length=jnp.array([16, 16]), seed=jnp.array([0, 0]))
params = start(net, cells).params
one = jax.tree.map(lambda leaf: leaf[0], params)
lengths_C = np.array([12, 16])
""",
    "jaxscale.lengths.kgram": "length = 12",
    "jaxscale.lengths.position_decoder": "tokens_BxT = ids_BxT = jnp.zeros((1, 8), jnp.int32)\n"
    "params = PositionDecoder(config.Decoder(), 153, 'alibi', 304).init(key, tokens_BxT, ids_BxT)['params']",
    "jaxscale.lengths.positions": "ids_BxT, layer, size, x_BxHxTxK = None, 0, 8, None",
    "jaxscale.lengths.simulation": "tokens_T, length = jnp.zeros(300, jnp.int32), 300",
    "jaxscale.lengths.strings": STRING,
    "jaxscale.lengths.subsampling": "tokens_T, length = jnp.zeros(4096, jnp.int32), 4096",
    "jaxscale.lengths.sweep": "from jaxscale import studies\nnet = LimitTransformer(alphabet=2, period=1)\n"
    "advance = only_bound(advance, (None, None))",
    "jaxscale.lengths.tasks": "length = 12",
    "jaxscale.lengths.thresholds": "lengths = np.array([4, 8, 16, 32, 64])\n"
    "errors_NxR = 1 / lengths[:, None] * np.ones(3)\ncomplexities = [2.0, 4.0, 8.0]\n"
    "thresholds = [threshold(lengths, c * errors_NxR, epsilon=0.2, key=key) for c in (1, 2, 3)]",
    "jaxscale.lengths.transformer": STRING
    + """
from jaxscale.lengths.strings import summarize
seen = summarize(tokens_T, length, alphabet=2, period=3, locality=0)
law = StringLaw(jnp.array([[0], [1]]), jnp.array([0, 1]), jnp.array([0.5, 0.5]))
recent_R = jnp.zeros(1, jnp.int32)
""",
    "jaxscale.models.attention": "from jaxscale.sharding import make_mesh\nmesh = make_mesh(config.Mesh())\n"
    "q_BxHxTxK = k_BxHxTxK = v_BxHxTxK = jnp.ones((8, 2, 16, 8))\nfused = only_bound(fused)  # a GPU's or TPU's",
    "jaxscale.models.decoder": DECODER,
    "jaxscale.models.gpt2": DECODER
    + """
model_config = config.Decoder(
    layers=1, width=16, heads=2, hidden=64, context=16, positions="learned", norm="layer", bias=True
)
params = jax.jit(Decoder(model_config, vocab_size=257).init)(key, tokens_BxT)["params"]
write("gpt2", model_config, params)
""",
    "jaxscale.models.gguf_files": """
whole = GGUF("model.gguf", {"llama.block_count": 1}, None)
object.__setattr__(whole, "tensors", lambda: {"token_embd.weight": x})
object.__setattr__(whole, "tokenizer", lambda: None)
GGUF = types.SimpleNamespace(open=only_bound(GGUF.open, whole))
""",
    "jaxscale.models.language_models": """
from jaxscale.data import tokenizers
decoder = Decoder(config.Decoder(layers=1, width=16, heads=2, hidden=64, context=64), vocab_size=257)
params = jax.jit(decoder.init)(key, jnp.zeros((1, 8), jnp.int32))["params"]
tiny = LanguageModel("smollm2", decoder, params, tokenizers.published(tokenizers.Bytes()))
language_model = only_bound(language_model, tiny)
""",
    "jaxscale.models.llama": DECODER
    + """
model_config = config.Decoder(
    layers=1, width=16, heads=2, hidden=64, context=16, activation="swiglu", norm_epsilon=1e-5
)
params = jax.jit(Decoder(model_config, vocab_size=257).init)(key, tokens_BxT)["params"]
write("SmolLM2-135M", model_config, params)
""",
    "jaxscale.models.hidden_states": "texts = []\npretrained = only_bound(pretrained)\n"
    "hidden_states = only_bound(hidden_states, types.SimpleNamespace(layers=range(12)))",
    "jaxscale.models.regressor": "D, x_BxD = 5, x",
    "jaxscale.models.relu_transformer": """
shape = Shape(tokens=6, width=4, blocks=(BlockShape(5, 3, (7,)),), inputs=((0, 0), (2, 1)), outputs=((5, 0),))
x_BxD, fixed = x[:, :2], {"encoding": jnp.ones((6, 4))}
params = ReluTransformer(shape).init(key, x_BxD)["params"]
""",
    "jaxscale.page.pictures": "figure, check, write = None, only_bound(check), only_bound(write)",
    "jaxscale.page.vectors": "from jaxscale.page.plots import empty\nfigure = empty('n', 'loss')",
    "jaxscale.preemption": "from jaxscale import preemption",
    "jaxscale.sharding.processes": "from jaxscale.sharding import processes\nfolder, read = 'runs', str",
    "jaxscale.smoothness": "y = x[:, 0]",
    "jaxscale.studies": "from jaxscale import studies\nmonkeypatch.setattr(studies, 'run', only_bound(studies.run))\n"
    "monkeypatch.setattr(studies, 'render', only_bound(studies.render))",
    "jaxscale.studies.ablation": STUDY,
    "jaxscale.studies.compare": "render = only_bound(globals().get('render'))\n"
    "compare = only_bound(globals().get('compare'))",
    "jaxscale.studies.compare.lines": "x = rng.uniform(2, 15, 5)\n"
    "y, x_deviation, y_deviation = 1 + x / 2, 0 * x, x / 9",
    "jaxscale.studies.compare.teachers": "line = {'slope': 0.5, 'slope_interval': [0.4, 0.6]}\n"
    "compare = only_bound(compare, {'line': line})",
    "jaxscale.studies.lengths": STUDY,
    "jaxscale.studies.manifolds": STUDY,
    "jaxscale.studies.manifolds.problem": MANIFOLDS + "outputs = jnp.zeros((8192, 1))",
    "jaxscale.studies.manifolds.readings": MANIFOLDS + "problem = problems = None\n"
    "dimension, smoothness, check = map(only_bound, (dimension, smoothness, check))",
    "jaxscale.studies.manifolds.sweep": MANIFOLDS + "problem = size = noisy = learning_rate = None\n"
    "weight_decay = problems = net = training = None\n"
    "start, advance = only_bound(start), only_bound(advance, (None, None))",
    "jaxscale.studies.positions": STUDY,
    "jaxscale.studies.scaling": STUDY,
    "jaxscale.studies.scaling.cells": "from jaxscale import studies\nstudy, workdir = studies.DataScaling(), "
    "pathlib.Path('runs')\nstore, summaries = None, {}\ntrain = only_bound(train, {})",
    "jaxscale.studies.scaling.cluster": "from jaxscale import studies\nstudy = studies.DataScaling()\n"
    "monkeypatch.setattr(Cluster, 'train', only_bound(Cluster.train))",
    "jaxscale.studies.scaling.folder": "curve = types.SimpleNamespace(losses=[])\nread = only_bound(read, "
    "types.SimpleNamespace(rows=[{'loss': 1.0}], curves={'n=512_seed=0': curve}))",
    "jaxscale.studies.scaling.table": "rows = [{'run': 'a', 'n': 512, 'seed': 0, 'loss': 3.0}]\n"
    "verdict = {'agreement': 'consistent', 'sentence': 'It did.'}",
    "jaxscale.studies.teacher": STUDY,
    "jaxscale.studies.target_smoothness": "points, next_token = x, np.arange(400) % 3",
    "jaxscale.testing": "from jaxscale.dimension import twonn as mine\n"
    "monkeypatch.setattr(testing, 'check_estimator', only_bound(testing.check_estimator))",
    "jaxscale.testing.assertions": "from jaxscale.dimension import mle\n"
    "masked = lambda x, mask: jnp.sum(x * mask[:, None]) / jnp.sum(mask)",
    "jaxscale.testing.strategies": "from hypothesis import given\nmine = jnp.sum",
    "jaxscale.theory": "alpha_data, alpha_model = 0.2, 0.25",
    "jaxscale.training.checksums": "state = restored = {'params': {'embed': x}}",
    "jaxscale.training.export": "export = only_bound(export)",
    "jaxscale.training.loop": "store = None\ntrain = only_bound(train, {'loss': 0.0})",
    "jaxscale.training.loss": DECODER,
    "jaxscale.training.stacked": """
from jaxscale.sharding import make_mesh
small = config.Decoder(layers=1, width=16, heads=2, hidden=32, context=16)
run = config.Run(model=small, training=config.Training(steps=4, batch_size=8))
vocab_size, mesh, keys = 257, make_mesh(config.Mesh()), jax.random.split(key, 8)
tokens_RxSxBxT1, rates_RxS, counts_R = np.zeros((8, 2, 8, 17), np.int32), np.ones((8, 2), np.float32), np.full(8, 2)
""",
    "jaxscale.training.sweep": "run = faster = store = None\ntrain_together = only_bound(train_together, "
    "{'fast': {'loss': 0.0}})",
    "jaxscale.verdict": "files = types.SimpleNamespace(read_json=only_bound(files.read_json))\n"
    "check = only_bound(check, types.SimpleNamespace(numbers=[None]))",
}

# Of these, and of what runs inside a Flax module, names and signatures are checked; the slow tests run the former.
SECONDS = {
    "jaxscale",  # which the README runs too
    "jaxscale.ahead",
    "jaxscale.ahead.roofline",
    "jaxscale.ahead.step",
    "jaxscale.constructions.atlases",
    "jaxscale.constructions.certificate",
    "jaxscale.constructions.manifold",
    "jaxscale.constructions.manifolds",
    "jaxscale.constructions.training",
    "jaxscale.data.languages",
    "jaxscale.dimension.duplicates",
    "jaxscale.dimension.estimators.adaptive",
    "jaxscale.dimension.estimators.ess",
    "jaxscale.dimension.estimators.fisher",
    "jaxscale.dimension.estimators.knn_graph",
    "jaxscale.dimension.estimators.likelihood",
    "jaxscale.dimension.estimators.local_pca",
    "jaxscale.dimension.estimators.minimum_neighbor_distance",
    "jaxscale.dimension.estimators.persistent_homology",
    "jaxscale.dimension.estimators.ratios",
    "jaxscale.dimension.neighborhood",
    "jaxscale.dimension.page",
    "jaxscale.dimension.place",
    "jaxscale.dimension.scale",
    "jaxscale.dimension.search.ring",
    "jaxscale.laws",
    "jaxscale.laws.answers",
    "jaxscale.laws.compute_optimal",
    "jaxscale.laws.flops",
    "jaxscale.laws.results.quantity",
    "jaxscale.laws.sweeps",
    "jaxscale.laws.theory_check",
    "jaxscale.lengths",
    "jaxscale.lengths.adversarial",
    "jaxscale.lengths.algorithmic",
    "jaxscale.lengths.certificates",
    "jaxscale.lengths.constructions",
    "jaxscale.lengths.evaluation",
    "jaxscale.lengths.kgram",
    "jaxscale.lengths.position_decoder",
    "jaxscale.lengths.simulation",
    "jaxscale.lengths.subsampling",
    "jaxscale.lengths.tasks",
    "jaxscale.lengths.transformer",
    "jaxscale.models.attention",
    "jaxscale.models.decoder",
    "jaxscale.models.gpt2",
    "jaxscale.models.llama",
    "jaxscale.models.regressor",
    "jaxscale.models.relu_transformer",
    "jaxscale.smoothness",
    "jaxscale.smoothness.estimation",
    "jaxscale.studies.manifolds.problem",
    "jaxscale.studies.target_smoothness",
    "jaxscale.testing",
    "jaxscale.testing.assertions.assert_row_padding_invariant",
    "jaxscale.training.loss",
    "jaxscale.training.stacked",
}
INSIDE_A_MODULE = {"jaxscale.lengths.positions"}
