"""Functions whose values flow: numbers are squared, squares are summed up by tens, and sums once more."""

GROUP = 10


async def square(number: int) -> int:
    """Return the square of a number."""
    return number * number


async def total(numbers: list[int]) -> int:
    """Return the sum of numbers."""
    return sum(numbers)


def square_now(number: int) -> int:
    """Return the square of a number, from a plain function."""
    return number * number


def total_now(numbers: list[int]) -> int:
    """Return the sum of numbers, from a plain function."""
    return sum(numbers)


def shape(count: int) -> tuple[int, int]:
    """Return how many squares and how many sums by tens make about `count` functions; one more sums up all."""
    squares = max(1, (count - 1) * GROUP // (GROUP + 1))
    return squares, -(-squares // GROUP)


def expected(squares: int) -> int:
    """Return the last sum."""
    return sum(number * number for number in range(squares))
