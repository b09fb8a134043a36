"""The manual tells the truth: what it says one could type can be typed, and what ends within a minute is run."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests import documented
from tests.documented import COMMANDS, PAGES, ROOT, SHELL, Block, blocks_of, complaint

SECONDS = 60  # of a processor, for a command of a block that is not marked long
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCKS = [(page, block) for page in PAGES for block in blocks_of(page)]
RUN = [page for page in PAGES if any(b.kind in (*SHELL, "python") and not b.long for b in blocks_of(page))]


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_command_on_a_page_can_be_typed_like_this(page: Path) -> None:
    wrong = [
        f"line {block.line}: {' '.join(words)}: {reason}"
        for block in blocks_of(page)
        if block.kind in SHELL
        for words in block.commands()
        if (reason := complaint(words))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_flag_in_a_sentence_exists(page: Path) -> None:
    assert [(s, wrong) for s in documented.spans_of(page) if (wrong := documented.unknown_flags(s))] == []


@pytest.mark.parametrize("page", COMMANDS, ids=label)
def test_every_command_that_a_generated_page_ran_can_still_be_typed(page: Path) -> None:
    shown = re.findall(r"^ {4}\$ (.*)\n((?: {4}.*\n|\n(?= {4}))*)", page.read_text(encoding="utf-8"), re.M)
    typed = [line for line, said in shown if "(status 2)" not in said]  # which shows how a wrong line is refused
    assert [(line, complaint(words)) for line in typed for words in commands(line) if complaint(words)] == []


def test_every_example_in_the_help_can_be_typed_like_this() -> None:
    examples = list(documented.examples_in_help())
    assert len(examples) > 30
    assert [(name, words, complaint(words)) for name, words in examples if complaint(words)] == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_commands_stand_in_fenced_blocks_where_they_are_checked(page: Path) -> None:
    text = documented.FENCE.sub("", page.read_text(encoding="utf-8"))
    assert re.findall(r"^ {4}(?:\$ )?(?:img2mv3d|python|make|pip) .*$", text, re.M) == []
    assert {block.kind for block in blocks_of(page)} <= {*SHELL, "python", "text", "toml", "bibtex"}


@pytest.mark.parametrize("page", [*PAGES, *COMMANDS], ids=label)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    dead = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not leads_somewhere(page, link)]
    assert dead == []


def test_the_site_names_every_page_once() -> None:
    named = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    there = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert sorted(named) == sorted(there)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("img2mv3d run photo.png --made-up-flag", "No such option"),
        ("img2mv3d run photo.png --qualty draft", "No such option"),
        ("img2mv3d export --format gbl", "is not one of"),
        ("img2mv3d run photo.png --depth-ratio 40", "less than or equal to 2"),
        ("img2mv3d export --size 80", "length with its unit"),
        ("img2mv3d decode", "Missing argument"),
        ("img2mv3d report out/ again/", "does not take"),
        ("img2mv3d train everything DATA", "has no command"),
        ("torchrun --nproc-per-node 2 -m img2mv3d train decoder DATA --made-up", "No such option"),
        ("python -m experiments.nowhere", "no module"),
        ("python examples/nowhere.py", "no file"),
        ("make coffee", "no target"),
        ("pip install 'img2mv3d[nothing]'", "no extra"),
        ("wget somewhere", "no program"),
    ],
)
def test_the_checker_sees_what_cannot_be_typed(line: str, reason: str) -> None:
    (words,) = commands(line)
    assert reason in (complaint(words) or "")


def test_the_checker_runs_nothing_and_takes_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        "img2mv3d --version",
        "img2mv3d --install-completion",
        "img2mv3d run photo.png -o out/ --quality draft --seeds 4 --pick 2  # a comment",
        "OMP_NUM_THREADS=1 img2mv3d run a.png b.jpg 'toys/*.png' --jobs 2 | head",
        "make demo PHOTO=my.jpg",
        "pip install 'img2mv3d[usd,print]'",
    ):
        assert next(complaint(words) for words in commands(line)) is None, line
    assert capsys.readouterr().out == ""


def test_a_flag_in_a_sentence_belongs_to_the_command_beside_it() -> None:
    assert documented.unknown_flags("run --seeds 4") == []
    assert documented.unknown_flags("export --seeds 4") == ["--seeds"]
    assert documented.unknown_flags("--size 80mm") == []
    assert documented.unknown_flags("img2mv3d train decoder --arm ours") == ["--arm"]


def test_blocks_are_read_with_their_notes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n<!-- long -->\n```bash\nimg2mv3d view out/\n```\n\n<!-- status 3 -->\n```console\n"
        "$ img2mv3d run \\\n  gone.png\nerror: gone.png: no such file\n```\n\n```python\nprint()\n```\n"
    )
    first, second, third = blocks_of(page)
    assert first.long and first.line == 4 and list(first.commands()) == [["img2mv3d", "view", "out/"]]
    assert second.status == 3 and second.script == "img2mv3d run gone.png"
    assert third == Block("page.md", 15, "python", "print()\n")


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for ours, theirs in (("version", "version"), ("license", "license_expression"), ("title", "name")):
        said = re.search(rf"^{theirs} = (\S*)", setup, re.M)  # of the licences the first: the code's
        assert said and f"\n{ours}: {said.group(1)}\n" in citation


@pytest.fixture(scope="session")
def workshop_of_the_manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages talk of: photos under the names that they use, a finished run in out/, programs on the PATH."""
    base = tmp_path_factory.mktemp("manual")
    home = base / "home"
    shutil.copytree(ROOT / "examples", home / "examples")
    photo, toy = ROOT / "examples" / "coffee.jpg", ROOT / "examples" / "toy.png"
    for name in ("photo.jpg", "my.jpg", "b.jpg", "shoes/left.jpg"):
        copied(photo, home / name)
    for name in ("photo.png", "photo2.png", "front.png", "back.png", "a.png", "cup.png", "toys/boat.png"):
        copied(toy, home / name)
    programs = base / "bin"
    programs.mkdir()
    for name, words in (("img2mv3d", "-m img2mv3d "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (programs / name).chmod(0o755)
    typed(base, home, "img2mv3d run photo.png -o out/")
    for name in ("latents.pt", "subject.png"):
        shutil.copy(home / "out" / name, home)
    shutil.copytree(home / "out" / "views", home / "VIEWS_DIR")
    shutil.copytree(home / "out" / "views", home / "THEIR_VIEWS")
    for file in (home / "THEIR_VIEWS").iterdir():  # as Wonder3D names its views
        for ours, theirs in (("color_", "rgb_000_"), ("normal_", "normals_000_")):
            if file.name.startswith(ours):
                file.rename(file.with_name(theirs + file.name.removeprefix(ours)))
    (home / "THEIR_VIEWS" / "views.json").unlink()
    Image.open(toy).getchannel("A").save(home / "mask.png")
    return base


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=label)
def test_what_a_page_shows_runs(page: Path, workshop_of_the_manual: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(workshop_of_the_manual / "home", home)
    for block in (b for b in blocks_of(page) if not b.long):
        if block.kind in SHELL:
            typed(workshop_of_the_manual, home, block.script, block)
        elif block.kind == "python":
            (home / "block.py").write_text(block.text, encoding="utf-8")
            typed(workshop_of_the_manual, home, "python block.py", block)


@pytest.mark.slow
def test_the_site_is_built_without_a_dead_link_and_asks_nobody(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=\"?https?:[^>]*", text) == []
        assert re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect)\"?[^>]+https?:[^>]*", text) == []


def commands(line: str) -> list[list[str]]:
    return list(Block("", 0, "bash", line).commands())


def copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def leads_somewhere(page: Path, link: str) -> bool:
    """Is there such a file, and such a heading in it? Addresses of other machines are not asked."""
    if re.match(r"[a-z]+:", link):
        return True
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return False
    if not anchor:
        return True
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
    return anchor in {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


def typed(base: Path, home: Path, script: str, block: Block | None = None) -> None:
    """Type a script in `home`; what it was to end with, and within the seconds that a page may take."""
    env = {**os.environ, "PATH": f"{base / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    env |= {"IMG2MV3D_CACHE": str(base / "cache"), "NO_COLOR": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    words = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
    done = subprocess.run(words, cwd=home, env=env, capture_output=True, text=True, timeout=1200)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    where = "" if block is None else f"{block.page}, line {block.line}\n"
    assert done.returncode == (block.status if block else 0), f"{where}{script}\n{done.stderr[-3000:]}"
    print(f"{where}{seconds:.1f} s\n{done.stdout[-500:]}")
    most = SECONDS * sum(map(bool, script.splitlines()))
    assert seconds < most, f"{where}{seconds:.0f} s of a processor, at most {most}: mark the block <!-- long -->"
