"""The names of checkpoints: a template filled with the epoch, the step and columns of the history."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import attrs

from rnncallbacks.errors import CheckpointError, OptionError, one_line, short_repr
from rnncallbacks.files import remove_temporary_files, write_atomically

NUMBERING = ("epoch", "step")
"""Fields that make the names of two checkpoints differ."""
MISSING_VALUE = "none"
"""Text in place of a column that the history does not have."""


LONGEST_NAME = 255
"""Bytes of the longest file name on common file systems."""


@attrs.frozen
class CheckpointNames:
    """The files of one template, such as ``run-{epoch}-{val_loss:.3f}.safetensors``.

    Fields of the file name are ``{epoch}``, ``{step}`` and columns of the history, with a format as in ``format()``. If
    the template has fields, the name of the newest file is in a text file, which for this template is
    ``run-last.txt``.

    Parameters
    ----------
    template:
        Path of the files. Only its last part may have fields.

    Raises
    ------
    OptionError
        A field is not the name of a column.

    Example
    -------
    >>> names = CheckpointNames(Path("runs/run-{epoch:02d}-{val_loss:.3f}.safetensors"))
    >>> names.path_for({"epoch": 3, "val_loss": 0.25}).name, names.path_for({"epoch": 3}).name
    ('run-03-0.250.safetensors', 'run-03-none.safetensors')
    >>> names.pointer.name
    'run-last.txt'
    """

    template: Path

    def __attrs_post_init__(self) -> None:
        try:
            parsed = list(Formatter().parse(self.template.name))
        except ValueError as error:
            raise OptionError(f"{self.template}: {error}", hint="write {{ and }} for braces in a name") from None
        for _, field, _, conversion in parsed:
            if field is not None and (not field.isidentifier() or conversion):
                raise OptionError(
                    f"{self.template}: expected the name of a column in braces, got {{{field}}}",
                    hint="the fields are {epoch}, {step} and columns of the history, such as {val_loss:.3f}",
                )

        self._try_format()

    def _try_format(self) -> None:
        names = []
        for number in (1, 2):
            values = {field: number if field in NUMBERING else float(number) for field in self.fields}
            try:
                names.append(self.path_for(values).name)
            except (CheckpointError, MemoryError, OverflowError) as error:
                raise OptionError(
                    f"{self.template}: its format does not fit numbers: {one_line(error)}",
                    hint="write {epoch}, {step:06d} or {val_loss:.3f}",
                ) from None
        if len(names[0].encode()) > LONGEST_NAME:
            raise OptionError(f"{self.template}: expected names of at most {LONGEST_NAME} bytes, got {len(names[0])}")
        if self.fields.intersection(NUMBERING) and names[0] == names[1]:
            raise OptionError(
                f"{self.template}: two checkpoints have the name {names[0]!r}", hint="write {epoch} or {step:06d}"
            )

    def remove_leftovers(self) -> None:
        """Remove the temporary files that killed processes left when they wrote files of the template."""
        remove_temporary_files(self.template.parent, self.owns)

    @property
    def fields(self) -> set[str]:
        """The fields of the template."""
        return {field for _, field, _ in self._parts if field is not None}

    @property
    def pointer(self) -> Path:
        """The text file with the name of the newest file, or the file itself if the template has no fields."""
        if not self.fields:
            return self.template
        texts = [text for text, _, _ in self._parts]
        if self._parts[-1][1] is None:
            texts[-1] = texts[-1].removesuffix(Path(f"name{texts[-1]}").suffix)
        stem = "".join(texts).strip("-_. ")
        return self.template.with_name(f"{stem or 'checkpoint'}-last.txt")

    def path_for(self, values: Mapping[str, Any]) -> Path:
        """The path with the fields filled in.

        Raises
        ------
        CheckpointError
            A value does not fit the format of its field.
        """
        return self.template.with_name(
            "".join(text + self._filled(field, spec, values) for text, field, spec in self._parts)
        )

    def owns(self, name: str) -> bool:
        """Whether a file name can come from the template."""
        pattern = "".join(re.escape(text) + ("" if field is None else r"[\w.+-]*") for text, field, _ in self._parts)
        return re.fullmatch(pattern, name) is not None

    def newest(self) -> Path | None:
        """The newest file, or None if there is none.

        Raises
        ------
        CheckpointError
            The text file names no file of this template, or one that does not exist.
        """
        if not self.pointer.exists():
            return None
        if not self.fields:
            return self.template
        try:
            name = self.pointer.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.pointer} cannot be read: {error}") from error
        path = self.template.with_name(name) if self.owns(name) else None
        if path is None or not path.exists():
            raise CheckpointError(
                f"{self.pointer}: expected the name of a checkpoint in {self.pointer.parent}, got {short_repr(name)}",
                hint="write the name of one into it, or remove it to start from the beginning",
            )
        return path

    def point_to(self, path: Path, *, fsync: bool) -> None:
        """Make ``path`` the newest file."""
        if self.fields:
            write_atomically(self.pointer, path.name + "\n", fsync=fsync)

    @property
    def _parts(self) -> list[tuple[str, str | None, str]]:
        """The text before each field, the field, and its format."""
        return [(text, field, spec or "") for text, field, spec, _ in Formatter().parse(self.template.name)]

    def _filled(self, field: str | None, spec: str, values: Mapping[str, Any]) -> str:
        if field is None:
            return ""
        if field not in values:
            return MISSING_VALUE
        try:
            text = format(values[field], spec)
        except ValueError as error:
            raise CheckpointError(
                f"{self.template.name}: {{{field}:{spec}}} cannot show {short_repr(values[field])}: {error}"
            ) from None
        return re.sub(r"[^\w.+-]", "_", text)
