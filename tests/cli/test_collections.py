"""`sememe index`, `search -c` and `collections` with a fake that embeds words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fakes import FakeEmbedder
from sememe.cli import app
from sememe.collections.collection import Collection
from sememe.errors import CollectionMismatch, InputError, NotFound


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def make(name: str, **options: object) -> FakeEmbedder:
        return FakeEmbedder(name.rpartition("/")[2] + str(options.get("pooling") or ""), max_tokens=64, dimension=64)

    monkeypatch.setattr("sememe.engine.opening.Embedder", make)
    monkeypatch.setenv("SEMEME_COLLECTIONS", str(tmp_path / "collections"))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "guide.md").write_text("# Guide\n\nhow to install it\n\n## Refunds\n\nrefunds take five days\n")
    (folder / "lyon.txt").write_text("our office is in lyon")
    (folder / "bad.txt").write_bytes(b"\xff")
    return folder


def _run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False)


def _index(*arguments: object) -> dict[str, object]:
    done = _run("index", *map(str, arguments), "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_index_then_ask(docs: Path) -> None:
    first = _index(docs, "-c", "d", "--chunk", "heading")
    assert (first["n_added"], first["n_chunks"], first["n_documents"]) == (2, 3, 2)
    assert "bad.txt" in json.dumps(first["skipped"])
    again = _index(docs, "-c", "d")
    assert (again["n_unchanged"], again["n_chunks"]) == (2, 0)
    found = json.loads(_run("search", "-c", "d", "refunds take", "--json", "-k", "1").stdout)
    (hit,) = found["hits"]
    assert hit["heading"] == "Guide > Refunds"
    assert hit["place"] == {"unit": "line", "first": 5, "last": 7}
    assert hit["metadata"]["kind"] == "markdown"


def test_what_is_printed(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(docs.parent)
    done = _run("index", "docs", "-c", "d")
    assert "2 new, 0 changed, 0 unchanged, 0 removed; 2 chunks" in done.stderr
    assert f"left out {docs}/bad.txt: byte 0xff at position 1 is not utf-8" in done.stderr
    assert done.stdout == ""
    shown = _run("search", "-c", "d", "office lyon", "--explain", "--mode", "lexical", "-k", "1").stdout
    assert "docs/lyon.txt:1\n   lexical" in shown
    assert "words: " in shown
    assert "nothing found" in _run("search", "-c", "d", "zzz", "--mode", "lexical").stderr


def test_what_was_removed_and_what_was_kept_is_said(docs: Path) -> None:
    (docs / "rows.csv").write_text("id,text\n1,one\n2,two\n3,three\n")
    _index(docs, "-c", "d")
    (docs / "lyon.txt").unlink()
    (docs / "rows.csv").write_text("id,text\n3,three\n")
    done = _run("index", str(docs), "-c", "d", "--include", "*.csv")
    assert f"removed {docs}/lyon.txt: the file is gone\n" in done.stderr
    assert f"removed 2 documents of {docs}/rows.csv: no longer in the file\n" in done.stderr
    assert "1 unchanged, 3 removed, 1 kept of files that are there and passed over (--remove-excluded" in done.stderr
    assert "d has 2 documents" in done.stderr
    report = _index(docs, "-c", "d", "--include", "*.csv", "--remove-excluded")
    removed = {"source": f"{docs}/guide.md", "n_documents": 1, "reason": "the patterns pass over it"}
    assert (report["removed"], report["n_excluded"], report["n_documents"]) == ([removed], 0, 1)


def test_numbers_of_a_csv_are_filtered_as_numbers(docs: Path) -> None:
    (docs / "rows.csv").write_text("id,text,year\n1,one,1999\n2,two,2021\n3,three,\n")
    _index(docs, "-c", "d")
    found = json.loads(_run("search", "-c", "d", "three", "--where", '{"year": {">=": 2000}}', "--json").stdout)
    assert [hit["metadata"] for hit in found["hits"]] == [{"year": 2021}]


def test_filters(docs: Path, caplog: pytest.LogCaptureFixture) -> None:
    _index(docs, "-c", "d")
    assert "nothing found" in _run("search", "-c", "d", "refunds", "--where", '{"kin": "text"}').stderr
    assert caplog.messages == ["No document has the field 'kin' that the filter names."]
    found = json.loads(_run("search", "-c", "d", "refunds", "--where", '{"kind": "text"}', "--json").stdout)
    assert [Path(hit["source"]).name for hit in found["hits"]] == ["lyon.txt"]
    with pytest.raises(InputError, match="is no JSON"):
        _run("search", "-c", "d", "x", "--where", "{")
    with pytest.raises(InputError, match="is no JSON object"):
        _run("search", "-c", "d", "x", "--where", "3")


def test_every_option_of_a_search(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _index(docs, "-c", "d", "--chunk", "heading")

    def ask(*options: str) -> list[dict[str, object]]:
        hits: list[dict[str, object]] = json.loads(
            _run("search", "-c", "d", "refunds take", "--json", *options).stdout
        )["hits"]
        return hits

    by_rank = ask("--fusion", "rrf", "--rrf-k", "0", "--weight", "dense=0", "--weight", "lexical=2", "--explain")
    assert by_rank[0]["score"] == 2.0
    assert by_rank[0]["explanation"]["contributions"] == {"dense": 0.0, "lexical": 2.0}  # type: ignore[index]
    assert len(ask("--group-by-document", "--mmr", "0.5", "--n-candidates", "2")) == 2
    assert ask("--min-score", "99") == []
    for wrong in ("dense", "dense=much", "words=1", "dense=-1", "dense=inf"):
        with pytest.raises(InputError, match="dense"):
            ask("--weight", wrong)
    lyon = json.loads(_run("search", "-c", "d", str(docs / "lyon.txt"), "--more-like", "--json").stdout)["hits"]
    assert [Path(hit["source"]).name for hit in lyon] == ["guide.md"]
    monkeypatch.chdir(docs)
    assert json.loads(_run("search", "-c", "d", "lyon.txt", "--more-like", "--json").stdout)["hits"] == lyon
    with pytest.raises(NotFound, match="no document"):
        _run("search", "-c", "d", "nobody", "--more-like")


def test_every_option_of_a_new_collection(docs: Path) -> None:
    options = ("--similarity", "dot", "--outputs", "dense,multi-vector", "--no-lexical", "--dimensions", "32")
    _index(docs, "-c", "d", *options, "--first-pass-dimensions", "16")
    kept = json.loads(_run("collections", "stats", "d", "--json").stdout)["options"]
    assert (kept["outputs"], kept["lexical"], kept["similarity"]) == (["dense", "multi_vector"], False, "dot")
    assert (kept["dimensions"], kept["first_pass_dimensions"]) == (32, 16)
    assert json.loads(_run("search", "-c", "d", "lyon", "--mode", "multi_vector", "--json").stdout)["n_passages"] == 2
    with pytest.raises(InputError, match="'dens' is unknown"):
        _run("index", str(docs), "-c", "e", "--outputs", "dens")


def test_standard_input(docs: Path) -> None:
    lines = '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
    done = _run("index", "-", "-c", "d", "--kind", "jsonl", "--json", stdin=lines)
    assert json.loads(done.stdout)["n_added"] == 2


def test_another_model_or_other_chunks_are_refused_in_words(docs: Path) -> None:
    _index(docs, "-c", "d")
    with pytest.raises(CollectionMismatch, match="was made with the chunks tokens; sentence was asked for"):
        _run("index", str(docs), "-c", "d", "--chunk", "sentence")
    with pytest.raises(CollectionMismatch, match="or migrate it"):
        _run("index", str(docs), "-c", "d", "-m", "other")
    with pytest.raises(CollectionMismatch):
        _run("search", "-c", "d", "x", "-m", "other")


def test_nothing_is_made_for_a_path_that_is_not_there(docs: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        _run("index", str(docs / "nowhere"), "-c", "d")
    assert not (tmp_path / "collections").exists()


def test_wrong_usage(docs: Path) -> None:
    for arguments in (["x"], [str(docs), "x", "y"], ["-c", "d", "x", "y"]):
        with pytest.raises(InputError, match="Quote a question"):
            _run("search", *arguments)
    for arguments in ([str(docs), ""], ["-c", "d", " "]):
        with pytest.raises(InputError, match="question is empty"):
            _run("search", *arguments)
    with pytest.raises(InputError, match="go without a collection"):
        _run("search", str(docs), "x", "--where", "{}")
    with pytest.raises(NotFound, match=r"no collection 'd'.*There are: none yet"):
        _run("search", "-c", "d", "x")
    with pytest.raises(InputError, match="no name of a collection"):
        _run("index", str(docs), "-c", "..")


def test_a_folder_without_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("")
    assert "found nothing to index" in _run("index", str(tmp_path / "empty"), "-c", "d").stderr


def test_list_stats_and_delete(docs: Path, tmp_path: Path) -> None:
    assert "no collections in" in _run("collections", "list").stderr
    _index(docs, "-c", "d")
    (row,) = json.loads(_run("collections", "list", "--json").stdout)["collections"]
    assert (row["name"], row["n_documents"], row["chunking"]) == ("d", 2, "tokens")
    assert "2 documents" in _run("collections", "list").stdout
    (tmp_path / "collections/broken").mkdir()
    (tmp_path / "collections/broken/collection.sqlite").write_bytes(b"no database " * 100)
    listed = _run("collections", "list", "--json")
    assert [row["name"] for row in json.loads(listed.stdout)["collections"]] == ["d"]
    assert "broken is left out" in listed.stderr
    assert "documents    2\n" in _run("collections", "stats", "d").stdout
    assert _run("collections", "delete", "d", "--yes").exit_code == 0
    assert not (tmp_path / "collections/d").exists()


def test_a_folder_is_a_name_too(docs: Path, tmp_path: Path) -> None:
    _index(docs, "-c", tmp_path / "here")
    assert json.loads(_run("collections", "stats", str(tmp_path / "here"), "--json").stdout)["n_documents"] == 2


def test_a_folder_can_be_asked_without_a_collection(docs: Path) -> None:
    found = json.loads(_run("search", str(docs), "our office is in lyon", "--json", "-k", "1").stdout)
    assert Path(found["hits"][0]["source"]).name == "lyon.txt"


@pytest.mark.slow
def test_a_store_at_an_address(docs: Path, tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="needs the extra qdrant")
    address = f"qdrant://{tmp_path}/q?collection=d"
    assert _index(docs, "-c", address, "--chunk", "heading")["n_added"] == 2
    assert _index(docs, "-c", address)["n_unchanged"] == 2
    found = json.loads(_run("search", "-c", address, "refunds take", "--json", "-k", "1").stdout)
    assert found["hits"][0]["heading"] == "Guide > Refunds"
    stats = json.loads(_run("collections", "stats", address, "--json").stdout)
    assert (stats["n_documents"], stats["size_bytes"]) == (2, None)
    for arguments in (
        ("snapshot", address, str(tmp_path / "copy")),
        ("restore", str(tmp_path / "copy"), "local"),
        ("snapshot", "local", str(tmp_path / "local copy")),
        ("delete", address, "--yes"),
        ("restore", str(tmp_path / "local copy"), address),
    ):
        assert _run("collections", *arguments).exit_code == 0
    again = json.loads(_run("search", "-c", address, "refunds take", "--json", "-k", "1").stdout)
    assert again["hits"] == found["hits"]
    assert "of the 10 nearest" in _run("collections", "migrate", address, "-m", "other", "--yes").stdout
    assert json.loads(_run("collections", "stats", address, "--json").stdout)["model"] == "other"
    assert json.loads(_run("search", "-c", address, "refunds take", "--json", "-k", "1").stdout)["hits"]
    with pytest.raises(InputError, match="looks after its own index"):
        _run("collections", "rebuild", address)


def test_an_import_that_was_ended_goes_on(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _index(docs, "-c", "d")
    _run("collections", "export", "d", str(tmp_path / "d.parquet"))
    monkeypatch.setattr("sememe.collections.exporting._ROWS_A_GROUP", 1)
    put = Collection.upsert_embedded
    calls = 0

    def ended(*arguments: object, **options: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        put(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Collection, "upsert_embedded", ended)
    assert CliRunner().invoke(app, ["collections", "import", str(tmp_path / "d.parquet"), "e"]).exit_code != 0
    assert json.loads(_run("collections", "stats", "e", "--json").stdout)["n_documents"] == 1
    monkeypatch.setattr(Collection, "upsert_embedded", put)
    for _ in range(2):
        assert "e has 2 documents" in _run("collections", "import", str(tmp_path / "d.parquet"), "e").stderr
    (docs / "new.txt").write_text("more")
    _index(docs, "-c", "e")
    with pytest.raises(InputError, match="another collection already"):
        _run("collections", "import", str(tmp_path / "d.parquet"), "e")


def test_copies_and_exports(docs: Path, tmp_path: Path) -> None:
    _index(docs, "-c", "d")
    for arguments in (
        ("snapshot", "d", str(tmp_path / "copy")),
        ("restore", str(tmp_path / "copy"), "e"),
        ("export", "d", str(tmp_path / "d.parquet")),
        ("import", str(tmp_path / "d.parquet"), "f"),
        ("compact", "f"),
        ("rebuild", "f"),
    ):
        assert _run("collections", *arguments).exit_code == 0
    asked = [json.loads(_run("search", "-c", name, "refunds", "--json").stdout)["hits"] for name in ("d", "e", "f")]
    assert asked[0] == asked[1] == asked[2] != []
    with pytest.raises(InputError, match="already"):
        _run("collections", "restore", str(tmp_path / "copy"), "e")
    with pytest.raises(InputError, match="is no Parquet file"):
        _run("collections", "import", str(docs / "lyon.txt"), "g")


def test_another_model(docs: Path) -> None:
    _index(docs, "-c", "d")
    kept = CliRunner().invoke(app, ["collections", "migrate", "d", "-m", "other"], input="n\n", catch_exceptions=False)
    assert "of the 10 nearest are the same with other as with fake" in kept.stdout.replace("all-MiniLM-L6-v2", "fake")
    assert "stays with" in kept.stderr
    asked = _run("collections", "migrate", "d", "-m", "other", "--query", "refunds", "--yes", "--json")
    found = json.loads(asked.stdout)
    assert found["changes"][0]["query"] == "refunds"
    assert json.loads(_run("collections", "stats", "d", "--json").stdout)["model"] == "other"
    assert json.loads(_run("search", "-c", "d", "refunds", "--json").stdout)["hits"]
    with pytest.raises(InputError, match="nothing to migrate"):
        _run("collections", "migrate", "d", "-m", "other")


def test_one_model_used_in_another_way(docs: Path) -> None:
    _index(docs, "-c", "d", "-m", "one")
    moved = _run("collections", "migrate", "d", "-m", "one", "--recipe", "pooling=max", "--query", "refunds", "--yes")
    assert "of the 10 nearest are the same" in moved.stdout
    assert json.loads(_run("collections", "stats", "d", "--json").stdout)["model"] == "onemax"


def test_where_nobody_answers_it_says_what_to_give(docs: Path) -> None:
    _index(docs, "-c", "d")
    for command in (("delete", "d"), ("migrate", "d", "-m", "other")):
        with pytest.raises(InputError, match="give --yes"):
            _run("collections", *command)
    assert json.loads(_run("collections", "stats", "d", "--json").stdout)["model"] != "other"
    assert CliRunner().invoke(app, ["collections", "delete", "d"], input="n\n").exit_code == 1
    assert CliRunner().invoke(app, ["collections", "delete", "d"], input="y\n").exit_code == 0


def test_a_migration_can_be_abandoned(docs: Path) -> None:
    _index(docs, "-c", "d")
    CliRunner().invoke(app, ["collections", "migrate", "d", "-m", "other"], input="n\n")
    assert "stays with" in _run("collections", "migrate", "d", "-m", "other", "--abandon").stderr
    assert _index(docs, "-c", "d")["n_unchanged"] == 2
