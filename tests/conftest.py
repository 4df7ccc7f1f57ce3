"""Options of the whole suite."""

from __future__ import annotations

import gc
import signal

import pytest

# A shell without job control starts what it puts into the background with interrupts ignored, and whatever a test
# starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-cases", type=int, default=10_000, help="How many mutated inputs tests/fuzz tries, over all kinds."
    )


@pytest.fixture(autouse=True, scope="module")
def _what_others_left_is_not_collected_here() -> None:
    """Tests measure how long the event loop is held; a collector's walk over all that a thousand tests left in this
    process takes a quarter of a second, and no daemon has that behind it."""
    gc.collect()
    gc.freeze()
