"""Where a model lies: one that ships with the package, by its name, or a folder."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
BUNDLED = ("real", "synthetic")


def model_folder(name: str | Path) -> Path:
    """The folder of a bundled model's name or of a path.

    Raises ValueError, with what would do, for anything else.
    """
    bundled = [m for m in BUNDLED if (MODELS / m / "config.json").is_file()]
    folder = MODELS / str(name) if str(name) in bundled else Path(name)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"no model {str(name)!r}: give {' or '.join(bundled)}, a folder with config.json, processor.json, model.safetensors, or hf:NAME_OR_DIR."
        )
    return folder
