"""The model behind the app, loaded in the background so that the page does not wait for it, nor share the processor with it."""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from clipbert.hf.files import is_hf

if TYPE_CHECKING:
    from clipbert.predict import Predictor

log = logging.getLogger(__name__)
WAIT_SECONDS = 300
HEAD_START_SECONDS = 8


class Engine:
    """A predictor, now or soon.  `state` is "loading", "ready" or "failed"."""

    def __init__(self, load: "Callable[[], Predictor]", *, then: "Callable[[Predictor], None]") -> None:
        """Load when first waited for, as a page does once it is drawn, or else after HEAD_START_SECONDS.

        `then` is called with the predictor, still in the background.
        """
        self._load, self._then, self._wanted, self._done = load, then, threading.Event(), threading.Event()
        self._predictor: Predictor | None = None
        self._reason = ""
        threading.Thread(target=self._run, name="load model", daemon=True).start()

    def _run(self) -> None:
        self._wanted.wait(HEAD_START_SECONDS)
        try:
            self._predictor = self._load()
        except ValueError as error:
            self._reason = str(error)
        except Exception:
            log.exception("the model could not be loaded")
            self._reason = "the model could not be loaded; the server's log says why."
        finally:
            self._done.set()
        if self._predictor is not None:
            self._then(self._predictor)

    def wait(self) -> None:
        """Return when the model is loaded or cannot be."""
        self._wanted.set()
        self._done.wait(WAIT_SECONDS)

    @property
    def state(self) -> str:
        if not self._done.is_set():
            return "loading"
        return "ready" if self._predictor is not None else "failed"

    def predictor(self) -> "Predictor":
        """The predictor, waited for.  Raises ValueError where it could not be loaded."""
        self.wait()
        if self.state == "loading":
            raise ValueError(f"the model is not loaded after {WAIT_SECONDS} s; try again, or start the app with a smaller model.")
        if self._predictor is None:
            raise ValueError(self._reason)
        return self._predictor

    def banner(self) -> tuple[str, str]:
        """A level ("loading", "note", "bad") and the sentence that every page carries."""
        if self.state == "loading":
            return "loading", "loading weights: you can look around, answers wait for them"
        if self._predictor is None:
            return "bad", f"no model: {self._reason}"
        name = self._predictor.model.name
        if is_untrained(self._predictor):
            return "bad", f"model {name} — random weights: it was never trained, its answers mean nothing"
        if is_hf(name):
            return "note", f"model {name} — {type(self._predictor.model.model).__name__} of transformers, asked clip by clip: not ClipBERT"
        return "note", f"model {name} — illustrative weights: not the paper's"


def is_untrained(predictor: "Predictor") -> bool:
    """Whether every LayerNorm still has the gain it is created with, which one step of training changes."""
    from torch import nn

    model = getattr(predictor.model, "model", None)
    gains = [m.weight for m in model.modules() if isinstance(m, nn.LayerNorm)] if isinstance(model, nn.Module) else []
    return bool(gains) and all(bool((gain == 1).all()) for gain in gains)
