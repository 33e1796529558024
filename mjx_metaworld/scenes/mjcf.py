"""MJCF files from outside metaworld: one XML text of a file and all that it includes, and the files of its assets.

MuJoCo resolves every path of a model against the folder of its main file, so a file elsewhere could include metaworld's
robot by an absolute path at most, and the robot's meshes would not be found. Here includes are written out first, each
file's own way: paths that begin with `metaworld/` lie in the folder of assets of the installed package, other paths
beside the file that holds them. What is read is kept, text as well as meshes and textures, so that a scene stays what
it was when it was declared; only the installed package's own meshes and textures stay where they are.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from metaworld.asset_path_utils import full_V3_path_for

PREFIX = "metaworld/"
_PATHS = ("assetdir", "meshdir", "texturedir", "strippath")  # of `compiler`: where assets lie, per kind or of all
_SIDES = ("fileright", "fileleft", "fileup", "filedown", "filefront", "fileback")  # of a cube
# All attributes of MuJoCo's schema that name files, but those of `include`, which is written out, and `flexcomp`.
FILES = {"mesh": ("file",), "hfield": ("file",), "skin": ("file",), "texture": ("file", *_SIDES), "model": ("file",)}


_NAMED = ("worldbody", "asset", "default")  # sections whose elements bear names that metaworld's files have, too
_Origins = dict[ElementTree.Element, Path]  # the file that an element stands in


class Asset(NamedTuple):
    """A file that a scene names, as it was read."""

    name: str  # in the XML; it holds a digest of the content
    content: bytes


class _Folders(NamedTuple):
    """The folders of a file's assets, as its `compiler` says."""

    meshes: str  # and all that is no texture
    textures: str
    is_flat: bool  # all lie in the folder itself, whatever their paths say


class _Read(NamedTuple):
    """Notes of reading: the files that the elements stand in, and those that they name."""

    origins: _Origins
    assets: list[Asset]


class Repeated(NamedTuple):
    """A name that several elements of a kind have."""

    kind: str
    name: str
    files: tuple[str, ...]  # that hold them, each once

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} in {' and '.join(self.files)}{'' if self.files[1:] else ' twice'}"


class Mjcf(NamedTuple):
    """A scene's XML, the files that it names besides metaworld's, and names that are taken twice."""

    xml: str
    assets: tuple[Asset, ...]
    repeated: tuple[Repeated, ...] = ()


def metaworld_assets() -> Path:
    """The installed package's folder of scenes, objects and meshes; `metaworld/` in an own scene's paths."""
    return Path(full_V3_path_for("sawyer_xyz/sawyer_reach_v3.xml")).parents[1]


def read_mjcf(path: Path) -> Mjcf:
    """Read an MJCF file with its includes.

    Raises:
        ValueError: if a file is missing, is no XML or no MJCF, includes itself, or belongs to a `flexcomp`; the message
            names the file.
    """
    read = _Read({}, [])
    root = _model(path, (), read)
    assets = tuple(sorted(set(read.assets)))
    return Mjcf(ElementTree.tostring(root, encoding="unicode"), assets, tuple(_repeated(root, read.origins)))


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


def _model(path: Path, within: tuple[Path, ...], read: _Read) -> ElementTree.Element:
    """The root element of a file that is a model by itself, expanded."""
    root = _expanded(path, within, read)
    if root.tag.lower() != "mujoco":  # MuJoCo takes either case
        raise ValueError(f"{path} is no MJCF file: its root element is <{root.tag}>, must be <mujoco>")
    return root


def _expanded(path: Path, within: tuple[Path, ...], read: _Read) -> ElementTree.Element:
    """The root element of a file, its includes replaced by what they hold and the files that it names by assets.

    Both are noted in `read`.
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
    read.origins.update(dict.fromkeys(root.iter(), path))
    _take_files(root, (*within, path), read)
    _include(root, (*within, path), read)
    return root


def _include(parent: ElementTree.Element, within: tuple[Path, ...], read: _Read) -> None:
    for index, child in reversed(list(enumerate(parent))):
        if child.tag != "include":
            _include(child, within, read)
            continue
        parent[index : index + 1] = list(_expanded(_locate(_named(child, within[-1]), within[-1]), within, read))


def _take_files(root: ElementTree.Element, within: tuple[Path, ...], read: _Read) -> None:
    """Name assets instead of files, before includes bring in files with folders of their own."""
    path = within[-1]
    folders = _folders(root)
    for element in root.iter():
        if element.tag == "flexcomp" and element.get("file"):  # which MuJoCo takes from the disk alone
            raise ValueError(f"{path}: a flexcomp reads the file {element.get('file')}, but flexes are not supported")
        if element.tag == "model":
            element.set("file", _take_model(_locate(_named(element, path), path), within, read))
            continue
        for attribute in FILES.get(element.tag, ()):
            file = element.get(attribute)
            if file:
                located = _locate(_within_folder(file, element.tag, folders), path)
                if attribute == "file" and not element.get("name"):
                    element.set("name", located.stem)  # which MuJoCo would make of the asset's name
                element.set(attribute, _take_file(located, path, read))


def _folders(root: ElementTree.Element) -> _Folders:
    """Take the folders of a file out of its `compiler`, which has no use for them any more."""
    found: dict[str, str] = {}
    for element in root.iter("compiler"):
        found |= {name: element.attrib.pop(name) for name in _PATHS if name in element.attrib}
    shared = found.get("assetdir", "")
    return _Folders(
        meshes=found.get("meshdir", shared),
        textures=found.get("texturedir", shared),
        is_flat=found.get("strippath") == "true",
    )


def _take_model(path: Path, within: tuple[Path, ...], read: _Read) -> str:
    """The name in the XML of a model that another one attaches; its own files become assets like any."""
    root = _model(path, within, _Read({}, read.assets))
    return _take(path, ElementTree.tostring(root), read)


def _take_file(file: Path, path: Path, read: _Read) -> str:
    """The name in the XML of a file that `path` names."""
    try:
        if metaworld_assets() not in file.parents:
            return _take(file, file.read_bytes(), read)
        file.stat()
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no file {file}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot read the file {file}: {error.strerror}") from error
    return str(file)


def _take(file: Path, content: bytes, read: _Read) -> str:
    """The name of a new asset.

    MuJoCo knows assets by their names without folders, in lower case, and keeps what it made of them by these: the
    digest tells files apart that are called the same.
    """
    name = f"{hashlib.sha256(content).hexdigest()[:16]}-{file.name.lower()}"
    read.assets.append(Asset(name, content))
    return name


def _within_folder(file: str, kind: str, folders: _Folders) -> str:
    """A file's name for an asset, with the folder."""
    if folders.is_flat:
        file = re.split(r"[/\\]", file)[-1]
    if file.startswith(PREFIX):
        return file
    return os.path.join(folders.textures if kind == "texture" else folders.meshes, file)


def _named(element: ElementTree.Element, path: Path) -> str:
    """The file that an element names which must name one."""
    file = element.get("file")
    if not file:
        article = "an" if element.tag[0] in "aeiou" else "a"
        raise ValueError(f"{path}: {article} {element.tag} names no file")
    return file


def _locate(file: str, path: Path) -> Path:
    """The absolute path of what `path` calls `file`."""
    assets = metaworld_assets()
    if file.startswith(PREFIX):
        return Path(os.path.normpath(assets / file.removeprefix(PREFIX)))
    # All of metaworld's own files are written to be included from its folder `sawyer_xyz`.
    folder = assets / "sawyer_xyz" if assets in path.parents else path.parent
    return Path(os.path.normpath(folder / file))
