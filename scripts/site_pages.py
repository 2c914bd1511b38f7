"""A hook of mkdocs: README, benchmarks and other files beside docs/ become pages, and links follow them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "NOTICE": "notice.md",
}
"""Files of the repository -> pages of the site."""
_LINK = re.compile(r"(!?\[[^\]]*\])\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages, and the examples as they are."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        if source == "NOTICE":
            text = f"# Data and licences\n\nWhat derives from what, as in the file NOTICE.\n\n```text\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    for example in sorted((ROOT / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{example.name}", abs_src_path=str(example)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files of the repository as links between pages; those to what is on no page become their text."""
    here = page.file.src_uri
    source = next((source for source, name in PAGES.items() if name == here), f"docs/{here}")

    def link(match: re.Match[str]) -> str:
        text, named, place = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), named))
        target = "benchmarks/README.md" if target == "benchmarks" else target
        found = PAGES.get(target) or target.removeprefix("docs/")
        if found not in files.src_uris:
            return text.strip("[]")
        return f"{text}({posixpath.relpath(found, posixpath.dirname(here) or '.')}{place or ''})"

    return _LINK.sub(link, markdown)
