"""Fetching from a local server: what is right arrives, what is not leaves nothing under its name."""

import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree

import pytest
import requests
from omegaconf import OmegaConf

from sr_lightning.data.download import fetcher as fetch
from sr_lightning.data.download.archives import ArchiveError, Limits, extract, is_extracted
from sr_lightning.download import main
from sr_lightning.files import take_lock

CONTENT = {f"/set/{name}.png": bytes([i]) * 200_000 + name.encode() for i, name in enumerate("abc")}


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`, with ranges, and remembers what was asked."""

    def do_GET(self):
        body = self.server.content.get(self.path)
        self.server.asked.append((self.path, self.headers.get("Range")))
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        if reason := self.server.reasons.get(self.path):
            self.wfile.write(f"HTTP/1.0 404 {reason}\r\n\r\n".encode())
            self.close_connection = True
            return
        if body is None:
            self.send_error(404)
            return
        start = 0
        if (wanted := self.headers.get("Range")) and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if length := self.server.lengths.get(self.path, str(len(body) - start)):
            self.send_header("Content-Length", length)
        self.end_headers()
        cut = self.server.cuts.pop(self.path, None)  # once only
        self.wfile.write(body[start:cut])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of one set of three files, known to the command as `tiny`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.asked, server.cuts, server.ranges = dict(CONTENT), [], {}, True
    server.lengths, server.reasons = {}, {}
    # It looks every 0.01 s whether it is to stop, by default every 0.5.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.address = f"http://127.0.0.1:{server.server_port}"
    offer(server, tmp_path, monkeypatch, CONTENT)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def offer(server, tmp_path, monkeypatch, content, *, base="/set/", hashes="sha256", sizes=True):
    files = {}
    for path, body in content.items():
        digest = hashlib.new(hashes, body).hexdigest()
        known = digest if hashes == "sha256" else f"{hashes}:{digest}"
        files[path.rpartition("/")[2]] = [known, len(body) if sizes else None]
    entry = {"folder": "test/Tiny", "origin": "us", "licence": "none", "url": server.address + base, "files": files}
    (tmp_path / "table.json").write_text(json.dumps({"Tiny": entry}))
    monkeypatch.setattr(fetch, "DOWNLOADS", tmp_path / "table.json")


def visible(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


WHOLE = ["test/Tiny/a.png", "test/Tiny/b.png", "test/Tiny/c.png"]


def test_a_set_arrives_once(server, tmp_path, capsys):
    root = tmp_path / "my data"
    assert main(["tiny", "--root", str(root)]) == 0
    assert visible(root) == WHOLE
    for path, body in CONTENT.items():
        assert (root / "test/Tiny" / path.rpartition("/")[2]).read_bytes() == body
    assert "3 of them fetched now" in capsys.readouterr().out
    server.asked.clear()
    assert main(["TINY", "--root", str(root)]) == 0
    assert server.asked == []
    assert "0 of them fetched now" in capsys.readouterr().out


def test_the_root_is_sr_data(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SR_DATA", str(tmp_path / "here"))
    assert main(["tiny"]) == 0
    monkeypatch.delenv("SR_DATA")
    assert main(["tiny"]) == 0
    assert visible(tmp_path / "here") == visible(tmp_path / "data") == WHOLE


@pytest.mark.fault("S4", "status 1, nothing is kept")
def test_a_wrong_hash_leaves_nothing(server, tmp_path, capsys):
    server.content["/set/b.png"] = bytes(len(CONTENT["/set/b.png"]))
    assert main(["tiny", "--root", "r"]) == 1
    assert visible(tmp_path / "r") == ["test/Tiny/a.png", "test/Tiny/c.png"]
    said = capsys.readouterr().err
    assert "1 of 3 files of Tiny are missing" in said
    assert "b.png:\n    what the server sent has another hash" in said
    assert hashlib.sha256(CONTENT["/set/b.png"]).hexdigest() in said
    assert "put these files into" in said
    server.content = dict(CONTENT)
    assert main(["tiny", "--root", "r"]) == 0
    assert visible(tmp_path / "r") == WHOLE


@pytest.mark.fault("S4", "status 1, nothing is kept")
def test_a_file_that_is_shorter_on_the_server_is_refused(server, tmp_path, capsys):
    server.content["/set/b.png"] = CONTENT["/set/b.png"][:1000]
    assert main(["tiny", "--root", "r"]) == 1
    assert "the server has 1000 bytes; expected: 200001" in capsys.readouterr().err
    assert "test/Tiny/b.png" not in visible(tmp_path / "r")


def test_a_broken_connection_is_continued_at_once(server, tmp_path):
    server.cuts["/set/b.png"] = 70_000
    assert main(["tiny", "--root", "r", "--jobs", "1"]) == 0
    ranges = [asked for path, asked in server.asked if path == "/set/b.png"]
    assert len(ranges) == 2
    assert ranges[0] is None
    assert 0 < int(ranges[1].removeprefix("bytes=").removesuffix("-")) <= 70_000
    assert (tmp_path / "r/test/Tiny/b.png").read_bytes() == CONTENT["/set/b.png"]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_an_earlier_call_left_is_continued_or_fetched_anew(server, tmp_path, ranges):
    server.ranges = ranges
    folder = tmp_path / "r/test/Tiny"
    folder.mkdir(parents=True)
    (folder / ".a.png.part").write_bytes(CONTENT["/set/a.png"][:50_000])
    assert main(["tiny", "--root", "r"]) == 0
    assert ("/set/a.png", "bytes=50000-") in server.asked
    assert visible(tmp_path / "r") == WHOLE
    assert (folder / "a.png").read_bytes() == CONTENT["/set/a.png"]


@pytest.mark.parametrize("left", [b"of another file", bytes(200_001), bytes(300_000)])
@pytest.mark.fault("S4", "fetched anew")
def test_a_part_of_another_file_is_thrown_away(server, tmp_path, left):
    folder = tmp_path / "r/test/Tiny"
    folder.mkdir(parents=True)
    (folder / ".a.png.part").write_bytes(left)
    assert main(["tiny", "--root", "r"]) == 0
    assert visible(tmp_path / "r") == WHOLE
    assert (folder / "a.png").read_bytes() == CONTENT["/set/a.png"]


def test_another_file_in_its_place_is_kept(server, tmp_path, capsys):
    folder = tmp_path / "r/test/Tiny"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"mine")
    assert main(["tiny", "--root", "r"]) == 1
    assert (folder / "a.png").read_bytes() == b"mine"
    assert "there is another file of this name, which is kept" in capsys.readouterr().err


def test_without_a_network_it_says_what_to_do(server, tmp_path, monkeypatch, capsys):
    offered = server.address
    server.address = "http://127.0.0.1:9"  # nobody listens there
    offer(server, tmp_path, monkeypatch, CONTENT)
    server.address = offered
    assert main(["tiny", "--root", "r"]) == 1
    said = capsys.readouterr().err
    assert "a.png, b.png, c.png:\n    no connection to 127.0.0.1:9 (Connection refused)" in said
    assert "put these files into\n  r/test/Tiny" in said
    for path, body in CONTENT.items():
        assert f"{path.rpartition('/')[2]}\n      sha256 {hashlib.sha256(body).hexdigest()}" in said
    assert "Traceback" not in said
    for path, body in CONTENT.items():  # by hand
        (tmp_path / "r/test/Tiny" / path.rpartition("/")[2]).write_bytes(body)
    assert main(["tiny", "--root", "r"]) == 0


def test_a_refusal_is_told(server, tmp_path, capsys):
    del server.content["/set/c.png"]
    assert main(["tiny", "--root", "r"]) == 1
    assert "c.png:\n    the server answers 404" in capsys.readouterr().err


@pytest.mark.fault("S4", "refused")
def test_redirects_are_followed_but_never_to_http(server, tmp_path, monkeypatch):
    offer(server, tmp_path, monkeypatch, CONTENT, base="/moved/set/")
    assert main(["tiny", "--root", "r"]) == 0
    response = requests.Response()
    response.status_code, response.url = 302, "https://data.example/a.png"
    for target, refused in {"http://data.example/a.png": True, "https://other.example/a": False, "/b": False}.items():
        response.headers["location"] = target
        if refused:
            with pytest.raises(requests.RequestException, match="refused"):
                fetch._Session().get_redirect_target(response)
        else:
            assert fetch._Session().get_redirect_target(response) == target


def test_an_interrupted_command_keeps_what_arrived(server, tmp_path, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sr_lightning.download._outcome", interrupt)
    assert main(["tiny", "--root", "r"]) == 130
    assert "the same command continues" in capsys.readouterr().err
    monkeypatch.undo()
    stop = threading.Event()
    stop.set()
    file = fetch.RemoteFile("a.png", server.address + "/set/a.png", "0" * 64, None, "test/Tiny")
    with pytest.raises(fetch.Cancelled):
        fetch.Fetcher(stop).fetch(file, tmp_path / "r", lambda n: None)
    assert not (tmp_path / "r/a.png").exists()


def test_names_and_lists(capsys):
    assert main(["set4", "sett14", "t91"]) == 2
    said = capsys.readouterr().err
    assert "set4: no such set; did you mean 'set" in said
    assert "sett14: no such set; did you mean 'set14'" in said
    assert main([]) == 0
    listed = capsys.readouterr().out
    for name in ("set5", "set14", "bsd100", "urban100", "t91", "bsd200", "bsd200-extra", "div2k"):
        assert f"\n{name} " in listed
    assert max(len(line) for line in listed.splitlines()) <= 80
    assert main(["--list", "div2k-lr"]) == 0
    listed = capsys.readouterr().out
    assert "train/DIV2K_train_LR_bicubic_X4.zip\n    md5 76c43ec4155851901ebbe8339846d93d\n    https://" in listed
    with pytest.raises(SystemExit) as stopped:
        main(["--jobs", "0"])
    assert stopped.value.code == 2


def test_the_table_fits_the_configs():
    sets = fetch.remote_sets()
    folders = {name: chosen.files[0].folder for name, chosen in sets.items()}
    assert folders["Set5"] == "test/Set5"
    assert folders["T91"] == "train/T91"
    for chosen in sets.values():
        for file in chosen.files:
            digits = 32 if file.hash.startswith("md5:") else 64
            assert len(file.hash.rpartition(":")[2]) == digits
            assert file.url.startswith("https://")
            assert "/" not in file.name


def test_every_folder_and_file_of_the_recipes_can_be_fetched():
    data = OmegaConf.load(Path(__file__).parents[3] / "conf/data/t291.yaml")
    offered = {f"{file.folder}/{file.name}" for chosen in fetch.remote_sets().values() for file in chosen.files}
    folders = {name.rpartition("/")[0] for name in offered}
    data.paths = {"data": "."}
    for folder in [*data.train_dir, data.val.BSDval.hr, *data.test.values()]:
        assert folder.removeprefix("./") in folders
    assert {f"train/BSD200-extra/{name}" for name in data.val.BSDval.files} <= offered


def test_what_is_at_hand_is_what_would_be_fetched(sr_data, tmp_path, capsys):
    copytree(sr_data / "train/BSD200-extra", tmp_path / "train/BSD200-extra")
    assert main(["bsd200-extra", "--root", str(tmp_path)]) == 0
    assert f"200 files in {tmp_path / 'train/BSD200-extra'}, 0 of them fetched now" in capsys.readouterr().out


# -- archives ------------------------------------------------------------------------------------------


def zipped(members, *, modes=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, body)
    return file.getvalue()


def tarred(members, *, kinds=None):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            if kinds and name in kinds:
                info.type, info.linkname, info.size = kinds[name], "/etc/passwd", 0
            archive.addfile(info, io.BytesIO(body[: info.size]))
    return file.getvalue()


GOOD = [("Big/HR/1.png", b"one"), ("Big/HR/2.png", b"two"), ("Big/HR/more/3.png", b"three")]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_becomes_a_folder(server, tmp_path, monkeypatch, pack):
    name = "/set/Big.zip" if pack is zipped else "/set/Big.tar"
    server.content[name] = pack(GOOD)
    offer(server, tmp_path, monkeypatch, {name: server.content[name]}, hashes="md5", sizes=False)
    assert main(["tiny", "--root", "r"]) == 0
    folder = tmp_path / "r/test/Tiny/Big"
    assert sorted(p.name for p in folder.parent.iterdir()) == ["Big"]  # neither the archive nor a part
    assert (folder / "1.png").read_bytes() == b"one"
    assert (folder / "more/3.png").read_bytes() == b"three"
    server.asked.clear()
    assert main(["tiny", "--root", "r"]) == 0
    assert server.asked == []
    (folder / "1.png").write_bytes(b"ONE")  # as long as before
    assert main(["tiny", "--root", "r"]) == 1  # changed by the user: kept
    assert (folder / "1.png").read_bytes() == b"ONE"


def test_an_archive_that_the_user_put_there_is_unpacked_and_kept(server, tmp_path, monkeypatch):
    body = zipped(GOOD)
    offer(server, tmp_path, monkeypatch, {"/nowhere/Big.zip": body}, base="/nowhere/")
    folder = tmp_path / "r/test/Tiny"
    folder.mkdir(parents=True)
    (folder / "Big.zip").write_bytes(body)
    assert main(["tiny", "--root", "r"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["Big", "Big.zip"]
    assert server.asked == []


def damaged(method):
    """A ZIP whose only member cannot be decompressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.png", b"".join(hashlib.sha256(bytes([i])).digest() for i in range(99)))
    body = bytearray(file.getvalue())
    body[400:500] = bytes(100)
    return bytes(body)


EVIL = {
    "parent": zipped([("a.png", b"1"), ("../evil.png", b"2")]),
    "parent inside": zipped([("a/../../evil.png", b"2")]),
    "absolute": zipped([("/tmp/evil.png", b"2")]),
    "backslash": zipped([("a\\..\\..\\evil.png", b"2")]),
    "drive": zipped([("C:evil.png", b"2")]),
    "link": zipped([("evil.png", b"/etc/passwd")], modes={"evil.png": stat.S_IFLNK | 0o777}),
    "case": zipped([("a/Evil.png", b"1"), ("a/evil.png", b"2")]),
    "case of a folder": zipped([("A/1.png", b"1"), ("a/2.png", b"2")]),
    "unicode": zipped([("\u00e9.png", b"1"), ("e\u0301.png", b"2")]),
    "file and folder": zipped([("a", b"1"), ("a/b.png", b"2")]),
    "bomb": zipped([("a.png", bytes(50_000_000))]),
    "folder and file": zipped([("a/b.png", b"1"), ("a", b"2")]),
    "our own list": zipped([("a.png", b"1"), (".archive.json", b"{}")]),
    "bzip2 damaged": damaged(zipfile.ZIP_BZIP2),
    "lzma damaged": damaged(zipfile.ZIP_LZMA),
    "long name": zipped([("a" * 256, b"1")]),
    "nothing": zipped([]),
    "damaged": zipped(GOOD)[:-30],
    "damaged inside": (lambda body: body[:45] + b"\xff\xff\xff\xff" + body[49:])(zipped([("a.png", b"12345678" * 99)])),
    "tar parent": tarred([("../evil.png", b"2")]),
    "tar absolute": tarred([("/tmp/evil.png", b"2")]),
    "tar symbolic link": tarred([("evil.png", b"")], kinds={"evil.png": tarfile.SYMTYPE}),
    "tar hard link": tarred([("evil.png", b"")], kinds={"evil.png": tarfile.LNKTYPE}),
    "tar device": tarred([("evil.png", b"")], kinds={"evil.png": tarfile.CHRTYPE}),
    "tar twice": tarred([("a.png", b"1"), ("a.png", b"2")]),
    "neither": b"no archive at all",
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.fault("S3", "refused, nothing is left")
def test_an_evil_archive_leaves_nothing(tmp_path, kind):
    inside = tmp_path / "deep/inside"
    inside.mkdir(parents=True)
    (inside / "x.zip").write_bytes(EVIL[kind])
    with pytest.raises(ArchiveError):
        extract(inside / "x.zip", inside / "x", digest="d")
    assert visible(tmp_path) == ["deep/inside/x.zip"]
    assert [path.name for path in inside.iterdir()] == ["x.zip"]


@pytest.mark.fault("S4", "refused, nothing is written there")
@pytest.mark.parametrize("name", [".b.png.part", "b.png"])
def test_a_link_in_the_place_of_a_file(server, tmp_path, capsys, name):
    (tmp_path / "r/test/Tiny").mkdir(parents=True)
    (tmp_path / "r/test/Tiny" / name).symlink_to(tmp_path / "elsewhere")
    assert main(["tiny", "--root", "r"]) == 1
    assert f"'{name}' is a link that leads out" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.fault("S4", "only the right file is kept")
@pytest.mark.parametrize(("length", "status"), [("abc", 0), ("-1", 0), ("", 0), ("9" * 40, 1)])
def test_a_length_that_is_no_number(server, tmp_path, length, status):
    """What counts is the checksum; where more is announced than comes, the transfer counts as broken off."""
    server.lengths["/set/b.png"] = length
    assert main(["tiny", "--root", "r"]) == status
    assert ("test/Tiny/b.png" in visible(tmp_path / "r")) == (status == 0)
    server.lengths.clear()
    assert main(["tiny", "--root", "r"]) == 0
    assert visible(tmp_path / "r") == WHOLE


@pytest.mark.fault("S4", "status 1, the disk does not fill up")
def test_a_server_that_never_ends(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "_MAX_BYTES", 150_000)
    offer(server, tmp_path, monkeypatch, {"/set/b.png": CONTENT["/set/b.png"]}, sizes=False)
    assert main(["tiny", "--root", "r"]) == 1
    assert "the server has 200001 bytes; expected: 150000 at most" in capsys.readouterr().err
    server.lengths["/set/b.png"] = ""
    assert main(["tiny", "--root", "r"]) == 1
    assert "the server sends more than the 150000 bytes expected" in capsys.readouterr().err


@pytest.mark.fault("S4", "its control characters are shown as text")
def test_the_words_of_a_server(server, tmp_path, capsys):
    server.reasons["/set/b.png"] = "gone \x1b[2J\x1b]0;evil\x07"
    assert main(["tiny", "--root", "r"]) == 1
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"the server answers 404 gone \x1b[2J" in said


@pytest.mark.fault("S4", "told, what has arrived is kept")
def test_two_commands_at_once(server, tmp_path, capsys):
    part = tmp_path / "r/test/Tiny/.b.png.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT["/set/b.png"][:1000])
    with part.open("ab") as other:
        assert take_lock(other.fileno())
        assert main(["tiny", "--root", "r"]) == 1
        assert "another process is downloading it; the same command continues" in capsys.readouterr().err
        assert part.read_bytes() == CONTENT["/set/b.png"][:1000]
    assert main(["tiny", "--root", "r"]) == 0
    assert visible(tmp_path / "r") == WHOLE


@pytest.mark.fault("S3", "status 1, nothing is left")
def test_an_evil_archive_fails_the_command(server, tmp_path, monkeypatch, capsys):
    server.content["/set/x.zip"] = EVIL["parent"]
    offer(server, tmp_path, monkeypatch, {"/set/x.zip": EVIL["parent"]})
    assert main(["tiny", "--root", "r"]) == 1
    assert "'../evil.png' may lead out of its folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.fault("S3", "refused")
def test_limits_and_the_manifest(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(GOOD))
    for limits in (Limits(members=2), Limits(bytes=8)):
        with pytest.raises(ArchiveError):
            extract(tmp_path / "x.zip", tmp_path / "x", digest="d", limits=limits)
    extract(tmp_path / "x.zip", tmp_path / "x", digest="d")
    assert is_extracted(tmp_path / "x", digest="d")
    assert not is_extracted(tmp_path / "x", digest="e")
    (tmp_path / "x/more/3.png").unlink()
    assert not is_extracted(tmp_path / "x", digest="d")
