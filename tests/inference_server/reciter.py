"""A tiny model that knows one text by heart: at temperature 0 the token at each position is that of the text there.

So a greedy answer is known before it is given, hundreds of different tokens long, and one token lost, doubled or put
at a wrong place moves all that follows. Many of its characters are several tokens each: the tokenizer knows English.

    python -m tests.inference_server.reciter FOLDER     in .venv-vllm; nothing is downloaded
"""

import sys
from pathlib import Path

POSITIONS = 2560
RECITED = 2300  # then the end of the text, for good
_WORDS = """kiln glaze shelf lathe clamp chisel bench apron ladle spool torch anvil mallet trowel bellows crucible
    window garden river ticket village copper lantern winter bridge market harbour needle blanket pepper orchard mirror
    thunder saddle basket whistle barrel feather candle ribbon hammer meadow pocket kettle marble button stable"""
_VERSE = (
    "Verse {n}. The {a} and the {b} stand beside a {c}; on day {n} some {d} was lent for the {e}, then a {f}. "
    "Whose {g}, {h}, {i} or {j} is this? Öfen kühlen. 窯は冷える。🔥 Печь {n} ч. 가마 {n}번 👩‍🏭.\n"
)
_TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|assistant|>"
_SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def text() -> str:
    """More than is recited."""
    words = _WORDS.split()
    return "".join(_verse(n, words) for n in range(120))


def _verse(n: int, words: list[str]) -> str:
    return _VERSE.format(n=n, **{place: words[(n * 10 + i) % len(words)] for i, place in enumerate("abcdefghij")})


def write(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=_SPECIAL, initial_alphabet=alphabet)
    english = "".join(letter for letter in text() if letter.isascii()) + _WORDS
    bare.train_from_iterator([english, Path(__file__).read_text("utf-8")], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|end|>", chat_template=_TEMPLATE)
    tokenizer.save_pretrained(folder)

    end = tokenizer.eos_token_id
    recital = tokenizer.encode(text())[:RECITED]
    following = torch.tensor(recital[1:] + [end] * (POSITIONS - len(recital) + 1))
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=POSITIONS,
        n_embd=64,
        n_layer=1,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    tokens, positions = model.transformer.wte.weight.data, model.transformer.wpe.weight.data
    tokens.copy_(torch.nn.functional.normalize(torch.randn_like(tokens)))
    positions.copy_(4 * tokens[following])
    for block in model.transformer.h:  # they add nothing to what token and position say
        for layer in (block.attn.c_proj, block.mlp.c_proj):
            layer.weight.data.zero_()
            layer.bias.data.zero_()
    model.save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
