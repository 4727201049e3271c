"""The algorithmic tasks of Huang et al. 2025 (arXiv 2410.02140): a prompt and its answer, drawn on device.

    task = ALGORITHMIC["unique_copy"]
    example = task.sample(length=20, size=50, key=key) # prompts of up to 50 tokens in one shape
    example.tokens                                     # BOS, 20 tokens, SEP, the answer, END, PAD, …
    example.answer                                     # True where a token is to be predicted: the answer and END

Symbols of a task are 0..S-1, then come BOS, SEP and END. A prediction is right if every token of the answer is; with
the right tokens given before each (teacher forcing) that is the same event as with the model's own. `jax.vmap` takes
`sample` over keys and lengths.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxscale.arguments import random_key
from jaxscale.lengths.strings import PAD, Length, pad

# (key, length, size) to (size,) tokens.
Prompt = Callable[[jax.Array, Length, int], jax.Array]
# ((size,) tokens, length) to the answer in (size + 1,) tokens, and its length.
Solve = Callable[[jax.Array, Length], tuple[jax.Array, Length]]

LARGEST = 150  # symbols of sorting and unique copying, hence their longest prompt


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Example:
    """A prompt with its answer.

    Attributes:
      tokens: (size,) int32, PAD at the end.
      answer: (size,) bool, True where the token belongs to the answer or ends it.
    """

    tokens: jax.Array
    answer: jax.Array


@dataclasses.dataclass(frozen=True)
class Algorithmic:
    """A task that maps a prompt to an answer.

    Attributes:
      name: as in `ALGORITHMIC`.
      symbols: S, the prompt's alphabet.
      shortest, longest: lengths of prompts it speaks of; no bound above if None.
      prompt: (key, length, size) -> (size,) tokens, those from `length` on of no matter.
      solve: ((size,) tokens, length) -> ((size + 1,) answer, its length).
      law: how prompts are drawn, in words.
      longest_answer: tokens of the longest answer, its end not counted; None where answers grow with the prompt, by one
        token more at most.
    """

    name: str
    symbols: int
    shortest: int
    longest: int | None
    prompt: Prompt
    solve: Solve
    law: str
    longest_answer: int | None = None

    @property
    def vocab_size(self) -> int:
        return self.symbols + 3

    def sample(self, length: Length, size: int, *, key: jax.Array | int) -> Example:
        """An `Example` in 2 size + 4 tokens.

        Args:
          length: tokens of the prompt, no more than `size`; may be traced.
          size: room for them; static.
          key: a JAX random key, or an int for `jax.random.key`.
        """
        prompt_T = pad(self.prompt(random_key("key", key), length, size), length)
        return self.lay_out(prompt_T, length, *self.solve(prompt_T, length))

    def lay_out(self, prompt_T: jax.Array, length: Length, answer_T: jax.Array, answer_length: Length) -> Example:
        """BOS, prompt, SEP, answer, END, PAD …"""
        size = 2 * len(prompt_T) + 4
        bos, sep, end = self.symbols, self.symbols + 1, self.symbols + 2
        place = jnp.arange(size)
        from_answer = place - length - 2
        tokens = jnp.where(place == 0, bos, prompt_T[jnp.clip(place - 1, 0, len(prompt_T) - 1)])
        tokens = jnp.where(place == length + 1, sep, tokens)
        tokens = jnp.where(from_answer >= 0, answer_T[jnp.clip(from_answer, 0, len(answer_T) - 1)], tokens)
        tokens = jnp.where(from_answer == answer_length, end, tokens)
        tokens = jnp.where(from_answer > answer_length, PAD, tokens)
        return Example(tokens.astype(jnp.int32), (from_answer >= 0) & (from_answer <= answer_length))

    def room(self, size: int) -> int:
        """Tokens within which prompts of up to `size` end with their answers."""
        return 2 * size + 4 if self.longest_answer is None else size + 3 + self.longest_answer


def _biased_bits(key: jax.Array, length: Length, size: int) -> jax.Array:
    key_bias, key_bits = jax.random.split(key)
    bits_T = (jax.random.uniform(key_bits, (size,)) < jax.random.uniform(key_bias)).astype(jnp.int32)
    return _break_tie(bits_T, jnp.arange(size) < length, 2)


def _letters(key: jax.Array, length: Length, size: int, symbols: int = 26) -> jax.Array:
    key_law, key_letters = jax.random.split(key)
    log_share_S = jnp.log(jax.random.exponential(key_law, (symbols,)))
    letters_T = jax.random.categorical(key_letters, log_share_S, shape=(size,)).astype(jnp.int32)
    return _break_tie(letters_T, jnp.arange(size) < length, symbols)


def _interleaved_bits(key: jax.Array, length: Length, size: int) -> jax.Array:
    """Three strings of biased bits, in turn: position t belongs to string t mod 3, t from 1."""
    key_bias, key_bits = jax.random.split(key)
    strand_T = (jnp.arange(size) + 1) % 3
    bits_T = (jax.random.uniform(key_bits, (size,)) < jax.random.uniform(key_bias, (3,))[strand_T]).astype(jnp.int32)
    for strand in range(3):
        bits_T = _break_tie(bits_T, (jnp.arange(size) < length) & (strand_T == strand), 2)
    return bits_T


def _break_tie(tokens_T: jax.Array, among_T: jax.Array, symbols: int) -> jax.Array:
    """Where several symbols are the most frequent, turns one other token into the first of them."""
    counts_S = _counts(tokens_T, among_T, symbols)
    first = jnp.argmax(counts_S)
    tied = jnp.sum(counts_S == counts_S[first]) > 1
    other = jnp.argmax(among_T & (tokens_T != first))
    return tokens_T.at[other].set(jnp.where(tied, first, tokens_T[other]).astype(jnp.int32))


def _distinct(key: jax.Array, length: Length, size: int) -> jax.Array:
    # The first `size` of a random order of all symbols; a shorter prompt takes the first of those.
    return jax.random.permutation(key, LARGEST)[:size].astype(jnp.int32)


def _fair_bits(key: jax.Array, length: Length, size: int) -> jax.Array:
    return jax.random.randint(key, (size,), 0, 2)


def _sum_of_two(key: jax.Array, length: Length, size: int) -> jax.Array:
    """Two binary numbers around a 2, which stands for +, most significant digit first and 1 unless alone."""
    key_plus, key_bits = jax.random.split(key)
    plus = jax.random.randint(key_plus, (), 1, jnp.maximum(length - 1, 2))
    place_T = jnp.arange(size)
    leads_T = ((place_T == 0) & (plus > 1)) | ((place_T == plus + 1) & (length > plus + 2))
    digits_T = jnp.where(leads_T, 1, jax.random.randint(key_bits, (size,), 0, 2))
    return jnp.where(place_T == plus, 2, digits_T)


def _counts(tokens_T: jax.Array, among_T: jax.Array, symbols: int) -> jax.Array:
    return among_T.astype(jnp.float32) @ jax.nn.one_hot(tokens_T, symbols)


def _most_frequent(symbols: int, strands: int = 1) -> Solve:
    """Solves majorities: of each of `strands` strings that take turns, the strand of the first token first."""

    def solve(prompt_T: jax.Array, length: Length) -> tuple[jax.Array, Length]:
        place_T = jnp.arange(len(prompt_T))
        winner: Callable[[int], jax.Array] = lambda strand: jnp.argmax(
            _counts(prompt_T, (place_T < length) & (place_T % strands == strand), symbols)
        )
        return _answer(prompt_T, jnp.stack([winner(strand) for strand in range(strands)])), strands

    return solve


def _sorted(prompt_T: jax.Array, length: Length) -> tuple[jax.Array, Length]:
    padded_T = jnp.where(jnp.arange(len(prompt_T)) < length, prompt_T, LARGEST)
    return _answer(prompt_T, jnp.sort(padded_T)), length


def _same(prompt_T: jax.Array, length: Length) -> tuple[jax.Array, Length]:
    return _answer(prompt_T, prompt_T), length


def _parity(prompt_T: jax.Array, length: Length) -> tuple[jax.Array, Length]:
    ones = jnp.sum(jnp.where(jnp.arange(len(prompt_T)) < length, prompt_T, 0))
    return _answer(prompt_T, (ones % 2)[None]), 1


def _added(prompt_T: jax.Array, length: Length) -> tuple[jax.Array, Length]:
    """The sum in binary, most significant digit first, no leading zero."""
    size = len(prompt_T)
    plus = jnp.argmax(prompt_T == 2)
    power_T = jnp.arange(size)
    digit: Callable[[jax.typing.ArrayLike, jax.typing.ArrayLike], jax.Array] = lambda end, start: jnp.where(
        end - power_T > start, prompt_T[jnp.clip(end - power_T, 0, size - 1)], 0
    )

    def step(carry: jax.Array, digits: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        total = digits[0] + digits[1] + carry
        return total // 2, total % 2

    carry, low_T = jax.lax.scan(step, jnp.asarray(0), (digit(plus - 1, -1), digit(length - 1, plus)))
    bits = jnp.append(low_T, carry)
    digits = jnp.maximum(jnp.max(jnp.where(bits == 1, jnp.arange(size + 1), 0)) + 1, 1)
    return _answer(prompt_T, bits[jnp.clip(digits - 1 - jnp.arange(size + 1), 0, size)]), digits


def _answer(prompt_T: jax.Array, tokens: jax.Array) -> jax.Array:
    """`tokens` in an array of one more than the prompt's."""
    return jnp.zeros(len(prompt_T) + 1, jnp.int32).at[: len(tokens)].set(tokens[: len(prompt_T) + 1].astype(jnp.int32))


_BIASED = "bits of a bias uniform on [0, 1]; a tie is broken by turning one bit"
_UNIQUE = f"distinct symbols out of {LARGEST}, all orders alike"

ALGORITHMIC = {
    task.name: task
    for task in (
        Algorithmic("bin_majority", 2, 1, None, _biased_bits, _most_frequent(2), _BIASED, 1),
        Algorithmic(
            "majority", 26, 1, None, _letters, _most_frequent(26), "letters of a law uniform on the simplex", 1
        ),
        Algorithmic("interleaved_majority", 2, 3, None, _interleaved_bits, _most_frequent(2, 3), _BIASED, 3),
        Algorithmic("sort", LARGEST, 1, LARGEST, _distinct, _sorted, _UNIQUE),
        Algorithmic("unique_copy", LARGEST, 1, LARGEST, _distinct, _same, _UNIQUE),
        Algorithmic("repeat_copy", 2, 1, None, _fair_bits, _same, "fair bits"),
        Algorithmic("parity", 2, 1, None, _fair_bits, _parity, "fair bits", 1),
        Algorithmic("addition", 3, 3, None, _sum_of_two, _added, "fair digits, the place of + uniform"),
    )
}
