"""The plain references against other routes to the same value: native classes bent into the same shape, torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from transformers import GteConfig, GteModel, JinaEmbeddingsV3Config, JinaEmbeddingsV3Model, NomicBertModel

import specimens
from specimens import nomic
from specimens.hidden import raw_config

from . import bge_m3, files, gte_sparse, jina_bert, jina_code, maths, model2vec, nomic_moe, nv_embed, positions

IDS = [[6], [6, 30, 41, 52, 63, 30, 7], [int(i) for i in np.random.default_rng(0).integers(8, 400, 70)]]


def _gte_like(tensors: maths.Tensors, config: maths.Config, names: dict[str, str], value_rows_first: bool) -> GteModel:
    """A native GTE model with JinaBERT's weights. Positions are switched off by giving every token position 0.

    names: our name of a layer's tensor → GTE's. value_rows_first: the first half of the gated layer multiplies.
    """
    h, f = config["hidden_size"], config["intermediate_size"]
    model = GteModel(
        GteConfig(
            vocab_size=config["vocab_size"],
            hidden_size=h,
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=config["num_attention_heads"],
            intermediate_size=f,
            type_vocab_size=config["type_vocab_size"],
            layer_norm_eps=config["layer_norm_eps"],
            pad_token_id=0,
            attn_implementation="eager",
        )
    ).double()
    state = {name: torch.from_numpy(value) for name, value in tensors.items() if name.startswith("embeddings.")}
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        for ours, theirs in names.items():
            for part in ("weight", "bias"):
                if f"{at}.{ours}.{part}" in tensors:
                    state[f"layers.{i}.{theirs}.{part}"] = torch.from_numpy(tensors[f"{at}.{ours}.{part}"])
        gated = torch.from_numpy(tensors[f"{at}.mlp.{'up_gated_layer' if value_rows_first else 'gated_layers'}.weight"])
        up, gate = (gated[:f], gated[f:]) if value_rows_first else (gated[f:], gated[:f])
        state |= {f"layers.{i}.mlp.up_proj.weight": up, f"layers.{i}.mlp.gate_proj.weight": gate}
    model.load_state_dict(state, strict=True)
    return model.eval()


def _with_alibi(model: GteModel, ids: list[int], n_heads: int) -> np.ndarray:
    """Hidden states of the model with the ALiBi bias as its attention mask and all positions at 0."""
    bias = torch.from_numpy(positions.alibi_bias(n_heads, len(ids)))[None]
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        output = model(tokens, attention_mask=bias, position_ids=torch.zeros_like(tokens))
    return output.last_hidden_state[0].numpy()


_ATTENTION = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.o_proj",
}


@pytest.mark.parametrize("sigma", [None, 0.3])
def test_jina_bert_is_a_gte_with_slopes_for_positions(sigma: float | None, tmp_path: Path) -> None:
    tensors, config = files.read(specimens.make("jina_v2", tmp_path, sigma=sigma, dtype="float32"))
    names = {
        **_ATTENTION,
        "attention.output.LayerNorm": "post_attention_layernorm",
        "mlp.wo": "mlp.down_proj",
        "mlp.layernorm": "post_mlp_layernorm",
    }
    model = _gte_like(tensors, config, names, value_rows_first=False)
    for ids in IDS:
        expected = _with_alibi(model, ids, config["num_attention_heads"])
        np.testing.assert_allclose(jina_bert.forward(tensors, config, ids), expected, atol=1e-9)


def test_jina_code_is_a_gte_with_more_norms(tmp_path: Path) -> None:
    tensors, config = files.read(specimens.make("jina_code", tmp_path, sigma=0.3, dtype="float32"))
    names = {
        **_ATTENTION,
        "layer_norm_1": "post_attention_layernorm",
        "mlp.down_layer": "mlp.down_proj",
        "layer_norm_2": "post_mlp_layernorm",
    }
    model = _gte_like(tensors, config, names, value_rows_first=True)
    eps = config["layer_norm_eps"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        w, b = (torch.from_numpy(tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], w, b, eps)

    for i, layer in enumerate(model.layers):
        at = f"encoder.layer.{i}.attention"
        attn = layer.self_attn
        attn.q_proj.register_forward_hook(lambda m, x, y, at=at: norm(y, f"{at}.self.layer_norm_q"))
        attn.k_proj.register_forward_hook(lambda m, x, y, at=at: norm(y, f"{at}.self.layer_norm_k"))
        attn.register_forward_hook(
            lambda m, x, y, at=at: (norm(y[0] + x[0], f"{at}.output.LayerNorm"), *y[1:]),
        )
    for ids in IDS:
        expected = _with_alibi(model, ids, config["num_attention_heads"])
        np.testing.assert_allclose(jina_code.forward(tensors, config, ids), expected, atol=1e-9)


def test_nomic_moe_without_experts_is_jina_v3s_body(tmp_path: Path) -> None:
    """Rotary, post-norm, GELU and biases are the same; one layer, since the second would have experts."""
    tensors, config = files.read(specimens.make("nomic_moe", tmp_path, sigma=0.3, n_layer=1))
    h = config["n_embd"]
    model = JinaEmbeddingsV3Model(
        JinaEmbeddingsV3Config(
            vocab_size=config["vocab_size"],
            hidden_size=h,
            num_hidden_layers=1,
            num_attention_heads=config["n_head"],
            intermediate_size=config["n_inner"],
            type_vocab_size=1,
            layer_norm_eps=config["layer_norm_epsilon"],
            rope_parameters={"rope_type": "default", "rope_theta": config["rotary_emb_base"]},
            attn_implementation="eager",
        ),
        add_pooling_layer=False,
    ).double()
    t = {name: torch.from_numpy(value) for name, value in tensors.items()}
    state = {name: t[name] for name in t if name.startswith("embeddings.")}
    renames = {
        "attn.out_proj": "self_attn.o_proj",
        "norm1": "post_attention_layernorm",
        "norm2": "post_mlp_layernorm",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for part in ("weight", "bias"):
        state[f"embeddings.LayerNorm.{part}"] = t[f"emb_ln.{part}"]
        for ours, theirs in renames.items():
            state[f"layers.0.{theirs}.{part}"] = t[f"encoder.layers.0.{ours}.{part}"]
        for letter, rows in zip("qkv", t[f"encoder.layers.0.attn.Wqkv.{part}"].split(h), strict=True):
            state[f"layers.0.self_attn.{letter}_proj.{part}"] = rows
    model.load_state_dict(state, strict=True)
    for ids in IDS:
        with torch.inference_mode():
            expected = model.eval()(torch.tensor([ids])).last_hidden_state[0].numpy()
        np.testing.assert_allclose(nomic_moe.forward(tensors, config, ids), expected, atol=1e-5)  # float32 tables


def test_experts_that_are_all_alike_and_all_chosen_are_one_dense_layer(tmp_path: Path) -> None:
    tensors, config = files.read(specimens.make("nomic_moe", tmp_path, sigma=0.3))
    at, n = "encoder.layers.1.mlp", config["num_experts"]
    w1, w2 = (tensors[f"{at}.experts.mlp.{w}"][: config["n_inner"]] for w in ("w1", "w2"))
    alike = {**tensors, f"{at}.experts.mlp.w1": np.tile(w1, (n, 1)), f"{at}.experts.mlp.w2": np.tile(w2, (n, 1))}
    x = np.random.default_rng(0).standard_normal((5, config["n_embd"]))
    one = maths.gelu(x @ w1.T) @ w2 + tensors[f"{at}.experts.bias"]
    np.testing.assert_allclose(nomic_moe.experts(x, alike, at, n, n), one, atol=1e-12)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_chosen_experts_are_torchs_top_k_and_not_renormalised(top_k: int, tmp_path: Path) -> None:
    tensors, config = files.read(specimens.make("nomic_moe", tmp_path, sigma=0.3))
    at, n, f = "encoder.layers.1.mlp", config["num_experts"], config["n_inner"]
    x = torch.randn(9, config["n_embd"], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = {name.removeprefix(f"{at}."): torch.from_numpy(v) for name, v in tensors.items() if name.startswith(at)}
    p = (x @ t["router.layer.weight"].T).softmax(-1)
    weights, chosen = p.topk(top_k)
    w1, w2 = (t[f"experts.mlp.{w}"].view(n, f, -1) for w in ("w1", "w2"))
    every = torch.einsum("tef,efh->teh", F.gelu(torch.einsum("th,efh->tef", x, w1)), w2)  # (tokens, experts, H)
    expected = (torch.gather(every, 1, chosen[..., None].expand(-1, -1, every.shape[-1])) * weights[..., None]).sum(1)
    expected = expected + t["experts.bias"]
    np.testing.assert_allclose(nomic_moe.experts(x.numpy(), tensors, at, n, top_k), expected.numpy(), atol=1e-10)
    assert (weights.sum(-1) < 0.999).any()  # otherwise renormalising could not be seen


def test_latent_attention_is_torchs_attention(tmp_path: Path) -> None:
    folder = specimens.make("nvembed", tmp_path, sigma=0.3, dtype="float32")
    tensors, config = files.read(folder)
    latent = config["latent_attention_config"]
    root = "latent_attention_model."
    t = {name.removeprefix(root): torch.from_numpy(v) for name, v in tensors.items() if name.startswith(root)}
    hidden = torch.randn(11, latent["latent_dim"], dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (latent["num_cross_heads"], -1)).transpose(0, 1)

    block = "cross_attend_blocks.0"
    k, v = (norm(t["latents"], f"{block}.norm_context") @ t[f"{block}.fn.to_kv.weight"].T).chunk(2, dim=-1)
    q = norm(hidden, f"{block}.norm") @ t[f"{block}.fn.to_q.weight"].T
    a = F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(0, 1).flatten(1)
    x = hidden + a @ t[f"{block}.fn.to_out.weight"].T
    block = "cross_attend_blocks.1"
    u, g = F.linear(norm(x, f"{block}.norm"), t[f"{block}.fn.net.0.weight"], t[f"{block}.fn.net.0.bias"]).chunk(2, -1)
    expected = x + F.linear(u * F.gelu(g), t[f"{block}.fn.net.2.weight"], t[f"{block}.fn.net.2.bias"])
    np.testing.assert_allclose(nv_embed.latent_attention(tensors, latent, hidden.numpy()), expected.numpy(), atol=1e-9)


def test_nv_embed_leaves_the_instructions_last_token_in_the_mean() -> None:
    hidden = np.arange(12.0).reshape(6, 2)  # <s> i1 i2 t1 t2 </s>
    np.testing.assert_array_equal(nv_embed.pooled(hidden, 2), hidden[[2, 3, 4, 5]].mean(axis=0))
    np.testing.assert_array_equal(nv_embed.pooled(hidden, 0), hidden.mean(axis=0))


def test_sparse_weights_keep_the_greatest_and_drop_special_and_negative_ones() -> None:
    hidden = np.array([[5.0], [1.0], [3.0], [-2.0], [2.0], [9.0]])
    head = {"weight": np.array([[1.0]]), "bias": np.array([-0.5])}
    ids = [0, 7, 8, 9, 7, 2]
    assert bge_m3.sparse(head, hidden, ids, [0, 1, 2, 3]) == {7: 1.5, 8: 2.5}
    classifier = {f"classifier.{name}": value for name, value in head.items()}
    assert gte_sparse.sparse(classifier, hidden, ids, [0, 1, 2, 3]) == {7: 1.5, 8: 2.5}
    assert bge_m3.sparse_score({7: 1.5, 8: 2.5}, {8: 2.0, 10: 9.0}) == 5.0
    assert gte_sparse.hybrid_score(0.8, 5.0) == pytest.approx(1.3)


def test_gte_sparse_weights_are_the_native_token_classifiers(tmp_path: Path) -> None:
    folder = specimens.make("gte_multilingual", tmp_path, sigma=0.3)
    tensors, _ = files.read(folder)
    for ids in IDS[1:]:
        hidden = specimens.reference_hidden(folder, [ids])[0]
        logits = specimens.reference_logits(folder, [ids])[0]
        for token, weight in gte_sparse.sparse(tensors, hidden, ids, []).items():
            best = max(float(logits[i, 0]) for i, other in enumerate(ids) if other == token)
            assert weight == pytest.approx(best, abs=1e-4)


def test_bge_m3_vectors_and_scores() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((5, 4))
    head = {"weight": rng.standard_normal((4, 4)), "bias": rng.standard_normal(4)}
    vectors = bge_m3.multi_vector(head, hidden)
    assert vectors.shape == (4, 4)  # the first token is left out
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    expected = F.normalize(F.linear(torch.from_numpy(hidden[1:]), *map(torch.from_numpy, head.values())), dim=-1)
    np.testing.assert_allclose(vectors, expected.numpy())
    assert bge_m3.multi_vector_score(vectors, vectors) == pytest.approx(1)  # a mean, not a sum
    assert np.linalg.norm(bge_m3.dense(hidden)) == pytest.approx(1)
    assert bge_m3.hybrid_score(0.9, 0.3, 0.6) == pytest.approx(0.6)
    assert bge_m3.hybrid_score(0.9, 0.3, 0.6, (0.4, 0.2, 0.4)) == pytest.approx(0.66)


def test_model2vec_is_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("model2vec", reason="model2vec is not installed")
    for name in ("potion", "potion_quantized"):
        folder = specimens.make(name, tmp_path / name, sigma=0.3)
        theirs = library.StaticModel.from_pretrained(str(folder), normalize=None)
        tokenizer = specimens.vocabulary("bert-uncased").tokenizer
        words = sorted(tokenizer.get_vocab())
        texts = [*specimens.HARD_INPUTS, "the dog " * 3000]
        for text, expected in zip(texts, theirs.encode(texts), strict=True):
            ids = tokenizer.encode(model2vec.cut(text, words), add_special_tokens=False).ids
            ours = model2vec.embed(*files.read(folder), ids, tokenizer.token_to_id("[UNK]"))
            np.testing.assert_allclose(ours, expected, atol=1e-5)  # a sum of 512 in float32


def test_model2vec_of_nothing_is_zero(tmp_path: Path) -> None:
    tensors, config = files.read(specimens.make("potion", tmp_path))
    assert not model2vec.embed(tensors, config, [], 5).any()
    assert not model2vec.embed(tensors, config, [5, 5], 5).any()


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("embedding_gemma", lambda query, key: abs(query - key) <= 8),  # sliding_window 16 is the whole width
        ("mistral", lambda query, key: 0 <= query - key < 16),
        ("gte_qwen2", lambda query, key: True),
        ("qwen3", lambda query, key: key <= query),
    ],
)
def test_which_tokens_one_layer_sees(name: str, seen: object, tmp_path: Path) -> None:
    """Windows and directions as the specifications state them, by changing one token of one-layer models."""
    assert callable(seen)
    overrides = {"layer_types": ["sliding_attention"]} if name == "embedding_gemma" else {}
    folder = specimens.make(name, tmp_path, sigma=0.3, num_hidden_layers=1, dtype="float32", shards=1, **overrides)
    ids = IDS[2][:48]
    before = specimens.reference_hidden(folder, [ids])[0]
    for key in (0, 20, 47):
        changed = [*ids]
        changed[key] = 5
        after = specimens.reference_hidden(folder, [changed])[0]
        differs = np.abs(after - before).max(axis=1) > 0
        assert differs.tolist() == [bool(seen(query, key)) for query in range(len(ids))]


def test_length_extension_is_the_librarys_dynamic_scaling(tmp_path: Path) -> None:
    """transformers knows the rule as `rope_type: dynamic`; a new model for each length, since it remembers lengths."""
    folder = specimens.make("nomic_v1", tmp_path, sigma=0.3, rotary_scaling_factor=2.0)
    plain = specimens.make("nomic_v1", tmp_path / "plain", sigma=0.3)
    for length in (1, 64, 65, 150, 256):
        ids = [int(i) for i in np.random.default_rng(length).integers(8, 400, length)]
        config = nomic.native_config(raw_config(folder))
        config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}
        config.max_position_embeddings = raw_config(folder)["max_trained_positions"]
        model = NomicBertModel.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="eager")
        with torch.inference_mode():
            expected = model.eval()(torch.tensor([ids])).last_hidden_state[0].numpy()
        ours = specimens.reference_hidden(folder, [ids])[0]
        np.testing.assert_allclose(ours, expected, atol=1e-4)  # the float32 tables differ in the last digit
        off = np.abs(ours - specimens.reference_hidden(plain, [ids])[0]).max()
        assert off < 1e-4 if length <= 64 else off > 1e-3


def test_jina_v3_adapters_are_low_rank_terms(tmp_path: Path) -> None:
    folder = specimens.make("jina_v3", tmp_path, sigma=0.3, dtype="float32")
    config = raw_config(folder)
    base = specimens.reference_hidden(folder, [IDS[1]])[0]
    by_task = {t: specimens.reference_hidden(folder, [IDS[1]], task=t)[0] for t in config["lora_adaptations"]}
    assert all(np.abs(states - base).max() > 1e-3 for states in by_task.values())
    x = torch.randn(3, 36, generator=torch.Generator().manual_seed(0))
    from safetensors.torch import load_file

    from specimens.hidden import merged

    tensors = load_file(folder / "model.safetensors")
    at = "roberta.encoder.layers.1.mixer.out_proj"
    w, a, b = (tensors[f"{at}.parametrizations.weight.{part}"] for part in ("original", "0.lora_A", "0.lora_B"))
    t = config["lora_adaptations"].index("separation")
    on_the_fly = x @ w.T + 0.25 * (x @ a[t].T) @ b[t].T
    weight = merged(tensors, config, "separation")[f"{at}.weight"]
    torch.testing.assert_close(x @ weight.T, on_the_fly)
