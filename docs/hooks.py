"""For the site: what pages link to beyond this folder, such as BENCHMARKS.md, is brought into it.

Links are written as they lie in the repository, where they are read too; here they get the site's
places. A link to a folder of code keeps its text alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parents[1]
_HERE = "docs/"
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds every file that a page or the README links to, and those that these link to."""
    todo = ["README.md", *(_HERE + file.src_uri for file in files.documentation_pages())]
    while todo:
        page = todo.pop()
        for _, target, _ in _LINK.findall((_ROOT / page).read_text("utf-8")):
            path = _path(page, target)
            known = path.startswith(_HERE) or files.get_file_from_path(path)
            if known or path == "README.md" or not (_ROOT / path).is_file():
                continue
            files.append(File.generated(config, path, abs_src_path=str(_ROOT / path)))
            if path.endswith(".md"):
                todo.append(path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Gives links the places that their files have in the site."""
    at = page.file.src_uri
    lies = at if page.file.generated_by else _HERE + at

    def placed(link: re.Match[str]) -> str:
        text, target, fragment = link[1], link[2], link[3] or ""
        path = _path(lies, target)
        if path == "README.md":
            path = f"{_HERE}index.md"
        if (_ROOT / path).is_dir():
            return text
        if path.startswith("..") or not (_ROOT / path).exists():
            return link[0]  # as it is, so that the build says where it leads nowhere
        goal = path.removeprefix(_HERE)
        return f"[{text}]({posixpath.relpath(goal, posixpath.dirname(at) or '.')}{fragment})"

    return _LINK.sub(placed, markdown)


def _path(page: str, target: str) -> str:
    """Where a link leads, from the repository's folder."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
