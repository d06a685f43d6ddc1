"""Count old-fashioned words in everything that people read: `python docs/scripts/words.py`.

It reads docstrings, comments, the strings of messages and help texts, test names and the documentation. It prints each
hit with its place, the figure of each part of the project, and fails above `LIMIT` hits per 1,000 words.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import UnionType

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.0  # hits per 1,000 words, overall; may only be lowered
CODE = ("src", "examples", "benchmarks", "tests", "soak", "docs")
SKIPPED = {
    *(Path("docs/scripts/words.py"), Path("tests/test_words.py")),  # they name the words
    *(Path("docs/reference") / name for name in ("api.md", "metrics.md", "options.md")),  # written from the code
    *(Path("docs/internals") / name for name in ("modules.md", "states.md")),
    Path("src/leasekeeper/option_values.py"),
}
OLD = re.compile(
    r"""\b(?:
    whoever | whomever | whosoever | nobody | somebody | whose | whom | shall | anew | whither | whence | hither
    | thereof | therein | thereupon | whereupon | wherein | whereof | hence | lest | albeit | upon | amiss | forthwith
    | naught | aught | ere | heed(?:s|ed|ing)? | hitherto | betimes | summons
    | (?:is|are|was|were) \s+ to \s+ be
    | of \s+ (?:its|their|his|her) \s+ own
    | that \s+ which | those \s+ who | as \s+ it \s+ were | it \s+ is \s+ so \s+ that | be \s+ it | may \s+ well
    | midst | to \s+ and \s+ fro | reckoned | in \s+ hand | hears? \s+ of | bec(?:a|o)mes? \s+ of
    | told \s+ one \s+ from | comes? \s+ round
    )\b
    | (?:\A who | [.:;]\s+ (?-i:Who)) \s+ (?:goes|has|wants|runs|waits|says|asks|brings|measures|needs|takes)\b""",
    re.IGNORECASE | re.VERBOSE,
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
COMMENT = re.compile(
    r"""\"{3}(?:\\.|.)*?\"{3} | '{3}(?:\\.|.)*?'{3} | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | (\#[^\n]*)""",
    re.DOTALL | re.VERBOSE,
)
"""Strings, and comments in group 1. It is several times as fast as `tokenize`."""
NOT_PROSE = re.compile(r"#\s*(?:noqa|type:|pragma|!).*")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text and the line it begins on."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An old-fashioned word, and where it stands."""

    path: Path
    line: int
    word: str
    context: str


@dataclass(slots=True)
class Part:
    """A part of the project: its words and its hits."""

    words: int = 0
    hits: list[Hit] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Hits per 1,000 words."""
        return 1000 * len(self.hits) / self.words if self.words else 0.0


def count(root: Path = ROOT) -> dict[str, Part]:
    """The parts of the project by name."""
    parts: dict[str, Part] = {}
    for path in _files(root):
        relative = path.relative_to(root)
        part = parts.setdefault(_part_of(relative), Part())
        for text in _texts(path):
            part.words += len(WORD.findall(text.text))
            part.hits += _hits(relative, text)
    return parts


def overall(parts: dict[str, Part]) -> Part:
    """All parts together."""
    return Part(sum(part.words for part in parts.values()), [hit for part in parts.values() for hit in part.hits])


def _files(root: Path) -> Iterator[Path]:
    code = (path for folder in CODE for path in sorted((root / folder).rglob("*.py")))
    pages = sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])
    others = (root / name for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"))
    yield from (path for path in (*code, *pages, *others) if _is_ours(path.relative_to(root)))


def _is_ours(path: Path) -> bool:
    """Hidden folders hold the work of others, such as the environments of the benchmarks."""
    return path not in SKIPPED and not any(part.startswith(".") and part != ".ci" for part in path.parts)


def _part_of(path: Path) -> str:
    first, *rest = path.parts
    if first == "src":
        return f"src/{rest[1].removesuffix('.py')}" if len(rest) > 1 else "src"
    if first in {"tests", "soak", "benchmarks"}:
        return f"{first}/{rest[0]}" if len(rest) > 1 else first
    return "docs" if first == "docs" else "examples" if first == "examples" else "top pages"


def _texts(path: Path) -> Iterator[Text]:
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield Text(1, content)
    elif path.suffix == ".py":
        yield from _comments(content)
        yield from _strings(ast.parse(content), test=path.name.startswith("test_"))
    else:
        for line, text in enumerate(content.splitlines(), start=1):
            if "#" in text:
                yield Text(line, text.partition("#")[2])


def _comments(source: str) -> Iterator[Text]:
    """Comments on successive lines are one text, so that a phrase may continue on the next line."""
    block: list[Text] = []
    line, counted = 1, 0
    for match in COMMENT.finditer(source):
        if match[1] is None:
            continue
        line += source.count("\n", counted, match.start())
        counted = match.start()
        if block and line != block[-1].line + 1:
            yield _joined(block)
            block = []
        block.append(Text(line, match[1]))
    if block:
        yield _joined(block)


def _joined(block: list[Text]) -> Text:
    lines = (NOT_PROSE.sub("", comment.text).lstrip("# ") for comment in block)
    return Text(block[0].line, "\n".join(lines))


def _strings(tree: ast.AST, *, test: bool) -> Iterator[Text]:
    """Docstrings and strings with a space in them; of tests only docstrings and names; other strings are inputs."""
    unread = ast.expr if test else ast.Name | ast.expr_context
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr):
            pieces = (piece.value if isinstance(piece, ast.Constant) else "_" for piece in node.values)
            yield Text(node.lineno, "".join(map(str, pieces)))
            waiting += [piece for piece in node.values if not isinstance(piece, ast.Constant)]
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(node.lineno, node.value)
        elif test and isinstance(node, DOCUMENTED):
            if node.body and isinstance(docstring := node.body[0], ast.Expr):
                waiting.append(docstring.value)
            if not isinstance(node, ast.Module) and node.name.startswith("test_"):
                yield Text(node.lineno, node.name.removeprefix("test_").replace("_", " "))
        waiting += _children(node, unread)


def _children(node: ast.AST, unread: type[ast.AST] | UnionType) -> Iterator[ast.AST]:
    """As `ast.iter_child_nodes`, in half the time, without those of some types."""
    for value in vars(node).values():
        if isinstance(value, ast.AST):
            if not isinstance(value, unread):
                yield value
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, ast.AST) and not isinstance(each, unread))


def _hits(path: Path, text: Text) -> Iterator[Hit]:
    for match in OLD.finditer(text.text):
        before = text.text[: match.start()]
        around = text.text[max(0, match.start() - 35) : match.end() + 35]
        word = " ".join(match.group().split()).lstrip(".:; ")
        yield Hit(path, text.line + before.count("\n"), word, " ".join(around.split()))


def main() -> int:
    """Print the report; 1 when there are more hits than `LIMIT` allows."""
    chosen = sys.argv[1:]
    parts = count()
    for name, part in sorted(parts.items()):
        if not chosen or any(name.startswith(prefix) for prefix in chosen):
            for hit in part.hits:
                print(f"{hit.path}:{hit.line}: {hit.word}: ...{hit.context}...")
    print("\nhits   words  per 1,000  part")
    for name, part in sorted(parts.items(), key=lambda item: -item[1].rate):
        print(f"{len(part.hits):4} {part.words:7} {part.rate:10.2f}  {name}")
    total = overall(parts)
    print(f"{len(total.hits):4} {total.words:7} {total.rate:10.2f}  all; at most {LIMIT:g} are allowed")
    return int(total.rate > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
