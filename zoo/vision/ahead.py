"""Pictures read by threads while others are encoded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

ReadT = TypeVar("ReadT")
MOST = 8  # threads; Pillow decodes without Python's lock


def read_ahead(
    read: Callable[[Any], ReadT], items: Sequence[Any], size: int
) -> Iterator[list[ReadT]]:
    """Blocks of at most `size` items as they were read, the next block read meanwhile.

    What `read` raises is raised where the item's block would come. Items that are not asked for any
    more are not read.

    >>> list(read_ahead(len, ["a", "bb", "ccc"], 2))
    [[1, 2], [3]]
    """
    reading: deque[Future[ReadT]] = deque()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST)) as pool:
        try:
            for start in range(0, len(items), size):
                upto = min(start + 2 * size, len(items))
                submitted = start + len(reading)
                reading.extend(pool.submit(read, item) for item in items[submitted:upto])
                yield [reading.popleft().result() for _ in items[start : start + size]]
        finally:
            for future in reading:
                future.cancel()
