"""What an application gets when it imports the package."""

import subprocess
import sys

import accounting


def test_metering_is_imported_without_any_heavy_library() -> None:
    code = (
        "import sys; from accounting import meter, attribute; "
        "print(sorted({'httpx', 'httpx2', 'pydantic', 'pydantic_settings', 'sqlalchemy', 'alembic', 'apscheduler', "
        "'rich', 'typer'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(accounting, name) is not None for name in accounting.__all__)
