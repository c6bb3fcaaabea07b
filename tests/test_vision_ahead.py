"""Pictures that are read ahead come in their order, and an error where its picture would."""

from __future__ import annotations

import threading
import time

import pytest

from zoo.vision.ahead import read_ahead


def test_blocks_come_in_order_and_the_next_is_read_meanwhile():
    """Whichever is ready first; no more than one block ahead."""
    begun, second = [], threading.Event()

    def read(number: int) -> int:
        begun.append(number)
        if number == 3:
            second.set()
        time.sleep(0.02 if number % 2 else 0)
        return 10 * number

    blocks = read_ahead(read, range(7), 2)
    first = next(blocks)

    assert first == [0, 10]
    assert second.wait(5)
    assert max(begun) == 3
    assert list(blocks) == [[20, 30], [40, 50], [60]]


def test_an_error_is_raised_where_its_item_would_come():
    """The block before it is given first; what was not asked for is not read."""
    begun = []

    def read(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("no picture")
        return number

    blocks = read_ahead(read, range(50), 2)

    assert next(blocks) == [0, 1]
    with pytest.raises(ValueError, match="no picture"):
        next(blocks)
    assert len(begun) < 10
