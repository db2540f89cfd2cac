"""Where the files of `hf:NAME_OR_DIR` are: a folder, the Hugging Face cache, or the hub.  Imports neither torch nor transformers."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

PREFIX = "hf:"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
WAIT_SECONDS = 2.5
OK = 200


@dataclass(frozen=True)
class Place:
    """What transformers' `from_pretrained` takes, and whether all that is needed lies on this machine."""

    path: str
    local: bool


def is_hf(name: str | Path) -> bool:
    return str(name).startswith(PREFIX)


def find(name: str | Path) -> Place:
    """Where `hf:NAME_OR_DIR` is.  What the cache has is not asked of the hub again.

    Raises ValueError, within about WAIT_SECONDS, for a folder that is none and
    for a name that only the network could bring where there is no network.
    """
    path = str(name).removeprefix(PREFIX)
    if path and Path(path).is_dir():
        if not (Path(path) / "config.json").is_file():
            raise ValueError(f"{path} holds no config.json, so it is no folder of a transformers model.")
        return Place(path, local=True)
    if path.startswith((".", "/", "~")) or path.count("/") > 1 or not path.strip("/"):
        raise ValueError(f"there is no folder {path!r}; give hf:DIR, or hf:OWNER/NAME of the Hugging Face hub.")
    if _is_cached(path):
        return Place(path, local=True)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise ValueError(f"model {name} is not on this machine and HF_HUB_OFFLINE forbids to download it; unset that, or give a folder as hf:DIR.")
    status = _asked_hub(path)
    if status is None:
        raise ValueError(f"model {name} is not on this machine and the Hugging Face hub does not answer; connect, or give a folder as hf:DIR.")
    if status != OK:
        raise ValueError(f"the Hugging Face hub does not hand out a model {path} (status {status}); check the name, or give a folder as hf:DIR.")
    return Place(path, local=False)


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [isinstance(try_to_load_from_cache(name, file), str) for file in ("config.json", *WEIGHTS)]
    except HFValidationError as error:
        raise ValueError(f"{name!r} is neither a folder nor a name that the Hugging Face hub could have; give hf:DIR or hf:OWNER/NAME.") from error
    return found[0] and any(found[1:])


def _asked_hub(name: str) -> int | None:
    """The status with which the hub answers for a model's config.json; None where it does not answer in time.

    Asked in a thread, since looking up a host heeds no time limit.
    """
    statuses: list[int] = []

    def ask() -> None:
        import httpx
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        try:
            address = hf_hub_url(name, "config.json")
            statuses.append(httpx.head(address, headers=build_hf_headers(), follow_redirects=True, timeout=WAIT_SECONDS).status_code)
        except httpx.HTTPError:
            pass

    asking = threading.Thread(target=ask, name="ask the hub", daemon=True)
    asking.start()
    asking.join(WAIT_SECONDS)
    return statuses[0] if statuses else None
