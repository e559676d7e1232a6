"""Makes a Llama small enough to be made on the spot: random weights, a byte-level tokenizer, a chat template.

    .venv-model/bin/python tests/model/make_tiny.py FOLDER

What it says is noise; that it is generated token by token, by a server that nobody here wrote, is the point.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEXT = ["the quick brown fox jumps over the lazy dog", "a router sends each question where its answer is best"] * 20


def main(folder: Path) -> None:
    torch.manual_seed(7)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    end = fast.convert_tokens_to_ids("<|end|>")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=2048, eos_token_id=end, bos_token_id=end, pad_token_id=end,
        )
    )  # fmt: skip
    # A random model may want to end at once, and an empty answer is a failure to a router; halves of characters would
    # be held back by the server until there is a whole one, and its stream would be a single chunk.
    halves = [number for number in range(len(fast)) if "\ufffd" in fast.decode([number])]
    model.generation_config = GenerationConfig(
        eos_token_id=end,
        pad_token_id=end,
        do_sample=False,
        min_new_tokens=16,
        max_new_tokens=48,
        suppress_tokens=halves,
    )
    model.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
