"""MJCF files from outside metaworld: one XML text of a file and all that it includes.

MuJoCo resolves every path of a model against the folder of its main file, so a file elsewhere could include metaworld's
robot by an absolute path at most, and the robot's meshes would not be found. Here includes are written out first, each
file's own way: paths that begin with `metaworld/` lie in the folder of assets of the installed package, other paths
beside the file that holds them. What is read is kept as text, so that a scene stays what it was when it was declared.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from metaworld.asset_path_utils import full_V3_path_for

PREFIX = "metaworld/"
_FOLDERS = ("assetdir", "meshdir", "texturedir")  # of `compiler`: where assets lie, per kind or of all
_KINDS = {"mesh": "meshdir", "hfield": "meshdir", "skin": "meshdir", "texture": "texturedir"}


_NAMED = ("worldbody", "asset", "default")  # sections whose elements bear names that metaworld's files have, too
_Origins = dict[ElementTree.Element, Path]  # the file that an element stands in


class Repeated(NamedTuple):
    """A name that several elements of a kind have."""

    kind: str
    name: str
    files: tuple[str, ...]  # that hold them, each once

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} in {' and '.join(self.files)}{'' if self.files[1:] else ' twice'}"


class Mjcf(NamedTuple):
    """A scene's XML with absolute paths, a digest of the files of assets beside it, and names that are taken twice."""

    xml: str
    assets: str
    repeated: tuple[Repeated, ...] = ()


def metaworld_assets() -> Path:
    """The installed package's folder of scenes, objects and meshes; `metaworld/` in an own scene's paths."""
    return Path(full_V3_path_for("sawyer_xyz/sawyer_reach_v3.xml")).parents[1]


def read_mjcf(path: Path) -> Mjcf:
    """Read an MJCF file with its includes.

    Raises:
        ValueError: if a file is missing, is no XML, or includes itself; the message names the file.
    """
    origins: _Origins = {}
    root = _expanded(path, (), origins)
    own_assets = sorted({file for _, file in _files(root) if metaworld_assets() not in Path(file).parents})
    for file in own_assets:
        if not Path(file).is_file():
            raise ValueError(f"{path}: there is no file {file}")
    content = b"".join(hashlib.sha256(Path(file).read_bytes()).digest() for file in own_assets)
    xml, digest = ElementTree.tostring(root, encoding="unicode"), hashlib.sha256(content).hexdigest()
    return Mjcf(xml, digest, tuple(_repeated(root, origins)))


def _repeated(root: ElementTree.Element, origins: _Origins) -> Iterator[Repeated]:
    """The names that more than one element has where MuJoCo allows one."""
    files: defaultdict[tuple[str, str], list[Path]] = defaultdict(list)
    for element in (element for section in root if section.tag in _NAMED for element in section.iter()):
        is_class = element.tag == "default"
        name = element.get("class") if is_class else element.get("name") or Path(element.get("file", "")).stem
        if name:
            kind = "default class" if is_class else element.tag.removeprefix("free")  # a freejoint is a joint
            files[kind, name].append(origins[element])
    for (kind, name), holders in files.items():
        if len(holders) > 1 and (kind, name) != ("default class", "main"):  # which may be gone on with
            yield Repeated(kind, name, tuple(dict.fromkeys(map(_shown, holders))))


def _shown(path: Path) -> str:
    """A file as a scene of one's own would name it."""
    assets = metaworld_assets()
    return f"{PREFIX}{path.relative_to(assets)}" if path.is_relative_to(assets) else str(path)


def _expanded(path: Path, within: tuple[Path, ...], origins: _Origins) -> ElementTree.Element:
    """The root element of a file, its includes replaced by what they hold and its paths made absolute.

    The elements' files are added to `origins`.
    """
    if path in within:
        raise ValueError(f"{path} includes itself")
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        where = f" (included from {within[-1]})" if within else ""
        raise ValueError(f"cannot read the MJCF file {path}{where}: {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no XML: {error}") from error
    origins |= dict.fromkeys(root.iter(), path)
    _make_absolute(root, path)
    _include(root, path, (*within, path), origins)
    return root


def _include(parent: ElementTree.Element, path: Path, within: tuple[Path, ...], origins: _Origins) -> None:
    for index, child in reversed(list(enumerate(parent))):
        if child.tag != "include":
            _include(child, path, within, origins)
            continue
        file = child.get("file")
        if not file:
            raise ValueError(f"{path}: an include names no file")
        parent[index : index + 1] = list(_expanded(_locate(file, path), within, origins))


def _make_absolute(root: ElementTree.Element, path: Path) -> None:
    """Write assets' paths out, before includes bring in files with folders of their own."""
    folders = {name: value for element in root.iter("compiler") for name, value in element.attrib.items()}
    for element, file in _files(root):
        folder = folders.get(_KINDS[element.tag], folders.get("assetdir", ""))
        element.set("file", str(_locate(os.path.join(folder, file), path)))
    for element in root.iter("compiler"):
        for name in _FOLDERS:
            element.attrib.pop(name, None)


def _files(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str]]:
    """The assets that are read from files, with the names of these."""
    for element in root.iter():
        file = element.get("file")
        if element.tag in _KINDS and file:
            yield element, file


def _locate(file: str, path: Path) -> Path:
    """The absolute path of what `path` calls `file`."""
    assets = metaworld_assets()
    if file.startswith(PREFIX):
        return Path(os.path.normpath(assets / file.removeprefix(PREFIX)))
    # All of metaworld's own files are written to be included from its folder `sawyer_xyz`.
    folder = assets / "sawyer_xyz" if assets in path.parents else path.parent
    return Path(os.path.normpath(folder / file))
