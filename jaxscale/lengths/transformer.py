"""The limit transformer: periodic positions, a local bias, translation invariance, and three ways through it.

    net = LimitTransformer(alphabet=2, period=3)
    params = net.init(key, tokens_T)["params"]
    apply = lambda *inputs, **options: net.apply({"params": params}, *inputs, **options)
    apply(tokens_T, length)                                    # token by token: the definition, T² work
    apply(tokens_T, length, method="running")                  # through running counts: T work, one or two layers
    apply(seen, method="summarized")                           # one layer, from `Statistics`: no T at all
    apply(law, recent_R, method="limit")                       # T = ∞, one or two layers, from the law of the string

All take one string and agree wherever they apply; `jax.vmap` takes them over strings and parameters. Letters in names:
T tokens, S symbols, R residues, C token classes, W the last τ+1 tokens, H heads, D width, K head width, F hidden.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxscale.errors import InputError
from jaxscale.lengths import strings
from jaxscale.lengths.attention import Regime, check_regime, class_weights, token_weights
from jaxscale.lengths.strings import Length

# Running counts are float32: exact up to 2^24 tokens.
CHUNK = 4096


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StringLaw:
    """What an infinite string looks like from a position far from its beginning.

    Attributes:
      windows: (M, W) int32, every τ+1 consecutive tokens, the last one first.
      residues: (M,) int32, t mod Δ of the last one.
      shares: (M,) float32, how often; they sum to one.
    """

    windows: jax.Array
    residues: jax.Array
    shares: jax.Array


class ArrayModule(nn.Module):
    """A module whose parameters may be NumPy's as well, which know no traced index."""

    def array(self, name: str, start: jax.nn.initializers.Initializer, shape: tuple[int, ...]) -> jax.Array:
        """The parameter of that name as a JAX array."""
        return jnp.asarray(self.param(name, start, shape))


class Layer(ArrayModule):
    """One layer of attention and its ReLU network, as functions of single positions."""

    width: int
    heads: int
    head_width: int
    hidden: int
    locality: int
    biased: bool

    def setup(self) -> None:
        H, D, K, F = self.heads, self.width, self.head_width, self.hidden
        scaled: Callable[[int], nn.initializers.Initializer] = lambda fan_in: nn.initializers.normal(fan_in**-0.5)
        self.query_HxDxK = self.array("query", scaled(D), (H, D, K))
        self.key_HxDxK = self.array("key", scaled(D), (H, D, K))
        self.value_HxDxD = self.array("value", scaled(D), (H, D, D))
        window = (H, self.locality + 1)
        self.bias_HxW = self.array("bias", nn.initializers.zeros, window) if self.biased else jnp.zeros(window)
        self.up_DxF = self.array("up", scaled(D), (D, F))
        self.shift_F = self.array("shift", nn.initializers.zeros, (F,))
        self.down_FxD = self.array("down", scaled(F), (F, D))

    def logits(self, query_D: jax.Array, keys_CxD: jax.Array) -> jax.Array:
        """y_jᵀ Kᵀ Q y_i over K, by head, (H, C)."""
        query_HxK = jnp.einsum("d,hdk->hk", query_D, self.query_HxDxK)
        key_HxCxK = jnp.einsum("cd,hdk->hck", keys_CxD, self.key_HxDxK)
        return jnp.einsum("hk,hck->hc", query_HxK, key_HxCxK) / self.head_width

    def values(self, weights_HxC: jax.Array, rows_CxD: jax.Array) -> jax.Array:
        """Σ_h Σ_j weight_hj V_h y_j, (D,)."""
        return jnp.einsum("hc,cd,hde->e", weights_HxC, rows_CxD, self.value_HxDxD)

    def output(self, query_D: jax.Array, mixed_D: jax.Array) -> jax.Array:
        """Y + B ψ(A Y + b) of Y = y_i + what attention adds."""
        summed_D = query_D + mixed_D
        return summed_D + nn.relu(summed_D @ self.up_DxF + self.shift_F) @ self.down_FxD

    def over_tokens(
        self, rows_TxD: jax.Array, positions_Q: jax.Array, length: Length, regime: Regime, bits: int | None
    ) -> jax.Array:
        """The layer's output at the positions asked for, over all tokens: (T, D) to (Q, D). The definition."""
        queries_QxD = rows_TxD[positions_Q - 1]
        logits_QxHxT = jax.vmap(lambda query_D: self.logits(query_D, rows_TxD))(queries_QxD)
        weights_HxQxT = jax.vmap(
            lambda content_QxT, bias_W: token_weights(content_QxT, bias_W, positions_Q, length, regime, bits), (1, 0)
        )(logits_QxHxT, self.bias_HxW)
        mixed_QxD = jax.vmap(lambda weights_HxT: self.values(weights_HxT, rows_TxD))(weights_HxQxT.swapaxes(0, 1))
        return jax.vmap(self.output)(queries_QxD, mixed_QxD)

    def over_classes(
        self,
        query: int | jax.Array,
        near_W: jax.Array,
        present_W: jax.Array,
        rows_CxD: jax.Array,
        bulk_C: jax.Array,
        length: float | jax.Array,
        regime: Regime,
        bits: int | None,
    ) -> jax.Array:
        """The layer's output at one position whose token, and those of the suffix, are among the classes; (D,).

        Args:
          query, near_W: indices of classes.
          rows_CxD: what tokens of each class are.
          bulk_C, present_W, length: as for `class_weights`.
        """
        weights_HxC, weights_HxW = self.weights_of_classes(
            query, near_W, present_W, rows_CxD, bulk_C, length, regime, bits
        )
        near_WxC = jax.nn.one_hot(near_W, len(bulk_C))
        values_HxCxD = jnp.einsum("cd,hde->hce", rows_CxD, self.value_HxDxD)
        mixed_D = jnp.einsum("hc,hce->e", weights_HxC + weights_HxW @ near_WxC, values_HxCxD)
        return self.output(rows_CxD[query], mixed_D)

    def weights_of_classes(
        self,
        query: int | jax.Array,
        near_W: jax.Array,
        present_W: jax.Array,
        rows_CxD: jax.Array,
        bulk_C: jax.Array,
        length: float | jax.Array,
        regime: Regime,
        bits: int | None,
    ) -> tuple[jax.Array, jax.Array]:
        """Attention on classes (H, C) and on the suffix (H, W)."""
        # Logits of all pairs depend on no string: under vmap they are computed once. And tokens of one class have equal
        # logits to the last bit, as ties require.
        logits_CxHxC = jax.vmap(lambda row_D: self.logits(row_D, rows_CxD))(rows_CxD)
        content_HxC = logits_CxHxC[query]
        return jax.vmap(
            lambda content_C, bias_W: class_weights(
                bulk_C, content_C, content_C[near_W], bias_W, present_W, length, regime, bits
            )
        )(content_HxC, self.bias_HxW)


class LimitTransformer(ArrayModule):
    """A limit transformer f(x) = U y_T, read at the last token (Izzo, Nichani & Lee 2026, Section 3).

        y_t      = E[x_t] + p_(t mod Δ)
        a_ij     = y_jᵀ Kᵀ Q y_i / K + φ(i - j), φ = 0 beyond distance τ
        Y_i      = y_i + Σ_h Σ_(j<=i) weight_hij V_h y_j
        y_i'     = Y_i + B ψ(A Y_i + b), ψ = ReLU

    Weights by `attention`'s regimes. Logits are divided by the head width K, the scaling of maximal update
    parametrization, which the paper says it trains with. Parameters and activations are float32.

    Attributes:
      alphabet: number of symbols S.
      outputs: dimensions of f(x).
      layers: 1 or 2.
      heads, width, hidden: of every layer.
      head_width: of keys and queries; `width` if None.
      period: Δ.
      locality: τ; the last τ+1 tokens carry a bias.
      biased: False for φ = 0 throughout and no such parameter.
      regime: "infinite", "finite" or "hardmax"; see `attention`.
      bits: p of the finite regime; unlimited if None.
    """

    alphabet: int
    outputs: int = 1
    layers: int = 1
    heads: int = 1
    width: int = 16
    hidden: int = 64
    head_width: int | None = None
    period: int = 1
    locality: int = 0
    biased: bool = True
    regime: Regime = "infinite"
    bits: int | None = None

    def __post_init__(self) -> None:
        check_regime(self.regime, self.bits)
        if self.layers not in (1, 2):
            raise InputError(f"layers={self.layers} must be 1 or 2, the depths that the theorems speak of.")
        for name in ("alphabet", "outputs", "heads", "width", "hidden", "period"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be positive. Give a larger value.")
        if self.locality < 0:
            raise InputError(f"locality={self.locality} must be 0 or more: the last locality + 1 tokens have a bias.")
        super().__post_init__()

    def setup(self) -> None:
        D = self.width
        self.embed_SxD = self.array("embed", nn.initializers.normal(1.0), (self.alphabet, D))
        self.position_RxD = self.array("positions", nn.initializers.normal(1.0), (self.period, D))
        self.unembed_DxO = self.array("unembed", nn.initializers.normal(1 / D), (D, self.outputs))
        self.stack = [
            Layer(D, self.heads, self.head_width or D, self.hidden, self.locality, self.biased, name=f"layer_{i}")
            for i in range(self.layers)
        ]

    def __call__(self, tokens_T: jax.Array, length: Length | None = None) -> jax.Array:
        """f(x) token by token, (O,).

        Args:
          tokens_T: (T,) integers; those from `length` on do not matter.
          length: how many tokens the string has; all if None.
        """
        length = len(tokens_T) if length is None else length
        rows_TxD = self._rows(tokens_T)
        for layer in self.stack[:-1]:
            rows_TxD = layer.over_tokens(rows_TxD, jnp.arange(1, len(tokens_T) + 1), length, self.regime, self.bits)
        last_1 = jnp.asarray(length, jnp.int32)[None]
        return self.stack[-1].over_tokens(rows_TxD, last_1, length, self.regime, self.bits)[0] @ self.unembed_DxO

    def prefixes(self, tokens_T: jax.Array) -> jax.Array:
        """f of every prefix of the string, (T, O), in one pass; the infinite regime only.

        Raises:
          InputError: in the regimes that scale logits by the length of the string, for then prefixes share nothing.
        """
        if self.regime != "infinite":
            raise InputError(f"prefixes need regime='infinite'; it is {self.regime!r}. Take each prefix as a string.")
        positions_T, rows_TxD = jnp.arange(1, len(tokens_T) + 1), self._rows(tokens_T)
        for layer in self.stack:
            rows_TxD = layer.over_tokens(rows_TxD, positions_T, len(tokens_T), self.regime, None)
        return rows_TxD @ self.unembed_DxO

    def summarized(self, seen: strings.Statistics) -> jax.Array:
        """f(x) of a one-layer transformer from `strings.Statistics`, (O,); at infinite length too.

        The classes are those of `seen.bulk`: fewer symbols or residues than the transformer has will do.
        """
        self._only_layers(1, "summarized")
        return self._first(seen) @ self.unembed_DxO

    def attention(self, seen: strings.Statistics) -> tuple[jax.Array, jax.Array]:
        """Where the last token of a one-layer transformer looks: (H, S, R) on classes, (H, W) on the suffix."""
        self._only_layers(1, "attention")
        weights_HxC, weights_HxW = self.stack[0].weights_of_classes(*self._classes(seen))
        return weights_HxC.reshape(self.heads, *seen.bulk.shape), weights_HxW

    def running(self, tokens_T: jax.Array, length: Length | None = None) -> jax.Array:
        """f(x) in work proportional to T, (O,): the first layer through running counts, the second at the last token.

        Args:
          tokens_T: (T,) integers, T up to 2^24; those from `length` on do not matter.
          length: how many tokens the string has; all if None.
        """
        length = len(tokens_T) if length is None else length
        rows_TxD = self._first_at_all(tokens_T, length) if self.layers == 2 else self._rows(tokens_T)
        last_1 = jnp.asarray(length, jnp.int32)[None]
        return self.stack[-1].over_tokens(rows_TxD, last_1, length, self.regime, self.bits)[0] @ self.unembed_DxO

    def limit(self, law: StringLaw, recent_R: jax.Array) -> jax.Array:
        """f(x) at T = ∞, (O,), for strings that look like `law` and end in `recent_R`, the very last token first.

        Args:
          law: the `StringLaw` of the string.
          recent_R: at least 2τ+1 tokens where there are two layers, τ+1 where there is one.
        """
        window, depth = self.locality + 1, self.layers
        wanted = (window - 1) * depth + 1
        if len(recent_R) < wanted:
            raise InputError(f"recent has {len(recent_R)} tokens; {depth} layers at τ={window - 1} read {wanted}.")
        bulk_SxR = jnp.zeros((self.alphabet, self.period)).at[law.windows[:, 0], law.residues].add(law.shares)
        # The string ends at residue 0 (a limit along multiples of Δ); the token d before it stands at -d.
        ends_W = -jnp.arange(window if depth == 2 else 1) % self.period
        recent_WxW = jnp.stack([recent_R[d : d + window] for d in range(len(ends_W))])
        first: Callable[[jax.Array, jax.Array], jax.Array] = lambda near_W, residue: self._first(
            strings.Statistics(bulk_SxR, near_W, residue, jnp.int32(self.period), jnp.float32(jnp.inf))
        )
        near_WxD = jax.vmap(first)(recent_WxW, ends_W)
        if depth == 1:
            return near_WxD[0] @ self.unembed_DxO
        # The last tokens have windows of their own: classes that fill no share of the bulk.
        rows_CxD = jnp.concatenate([near_WxD, jax.vmap(first)(law.windows, law.residues)])
        share_C = jnp.pad(law.shares, (window, 0))
        near_W, present_W = jnp.arange(window), jnp.ones(window, bool)
        last_D = self.stack[1].over_classes(0, near_W, present_W, rows_CxD, share_C, jnp.inf, self.regime, self.bits)
        return last_D @ self.unembed_DxO

    def _rows(self, tokens_T: jax.Array) -> jax.Array:
        return self.embed_SxD[tokens_T] + self.position_RxD[strings.residues(len(tokens_T), self.period)]

    def _classes(
        self, seen: strings.Statistics
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, Regime, int | None]:
        """What `Layer.over_classes` asks of a string: classes (symbol, residue), symbols first."""
        symbols, residues = seen.bulk.shape
        rows_CxD = (self.embed_SxD[:symbols, None] + self.position_RxD[:residues]).reshape(-1, self.width)
        place_W = (seen.residue - jnp.arange(self.locality + 1)) % seen.period
        near_W = jnp.maximum(seen.suffix, 0) * residues + place_W
        bulk_C = seen.bulk.reshape(-1)
        return near_W[0], near_W, seen.suffix >= 0, rows_CxD, bulk_C, seen.length, self.regime, self.bits

    def _first(self, seen: strings.Statistics) -> jax.Array:
        """The first layer's output at the last token of `seen`, (D,)."""
        return self.stack[0].over_classes(*self._classes(seen))

    def _first_at_all(self, tokens_T: jax.Array, length: Length) -> jax.Array:
        """The first layer's output at every position, (T, D), in chunks: the running counts are what it reads."""
        size = len(tokens_T)
        bulk_TxC = self._running_counts(tokens_T)
        window_TxW = jax.vmap(lambda i: strings.suffix(tokens_T, i + 1, self.locality))(jnp.arange(size))

        def at(inputs: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
            i, bulk_C, near_W, residue = inputs
            # In the finite regime all logits scale with the string's length; in the infinite one φ with the position.
            seen_length = i + 1 if self.regime == "infinite" else length
            bulk_SxR = bulk_C.reshape(self.alphabet, self.period)
            period, seen_length = jnp.int32(self.period), jnp.asarray(seen_length, jnp.float32)
            return self._first(strings.Statistics(bulk_SxR, near_W, residue, period, seen_length))

        inputs = (jnp.arange(size), bulk_TxC, window_TxW, strings.residues(size, self.period))
        outputs_TxO: jax.Array = jax.lax.map(at, inputs, batch_size=min(CHUNK, size))
        return outputs_TxO

    def _running_counts(self, tokens_T: jax.Array) -> jax.Array:
        """Tokens of each class at positions up to i - τ - 1, (T, C)."""
        class_T = tokens_T * self.period + strings.residues(len(tokens_T), self.period)
        counts_TxC = jnp.cumsum(jax.nn.one_hot(class_T, self.alphabet * self.period), axis=0)
        return jnp.pad(counts_TxC, ((self.locality + 1, 0), (0, 0)))[: len(tokens_T)]

    def _only_layers(self, layers: int, method: str) -> None:
        if self.layers != layers:
            raise InputError(f"{method} is for {layers} layer; this has {self.layers}. Use method='running'.")
