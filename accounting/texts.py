"""Files that people hand in as text."""

from pathlib import Path

from accounting.errors import ConfigurationError


def text_of(file: Path, refused: type[ConfigurationError]) -> str:
    """What the file says; raises `refused` where that is no text, and `ConfigurationError` where it can't be opened."""
    try:
        return file.read_text(encoding="utf-8-sig")  # Windows' Notepad begins a file with a byte order mark
    except UnicodeDecodeError as error:
        raise refused(f"{file} is no UTF-8 text: {error}.") from error
    except OSError as error:
        raise ConfigurationError(f"Can't read {file}: {error.strerror}.") from error
