"""Print a day of a web server's log: traffic.py DAY SEED. The same day and seed give the same lines everywhere."""

import random
import sys

PATHS = {
    "/": 40,
    "/login": 12,
    "/search?q=kettle": 18,
    "/api/orders": 20,
    "/api/export": 4,
    "/img/logo.svg": 30,
}
FRAGILE = {"/api/export": 0.12, "/api/orders": 0.02}


def main(day: str, seed: str) -> None:
    dice = random.Random(f"{day} {seed}")
    moments = sorted(dice.randrange(86_400) for _ in range(dice.randint(3_000, 5_000)))
    for moment in moments:
        path = dice.choices(list(PATHS), list(PATHS.values()))[0]
        status = (
            503 if dice.random() < FRAGILE.get(path, 0.001) else dice.choices([200, 304, 404], [88, 9, 3])[0]
        )
        length = int(dice.lognormvariate(4.2, 0.8) * (12 if path == "/api/export" else 1))
        clock = f"{day}T{moment // 3600:02}:{moment // 60 % 60:02}:{moment % 60:02}Z"
        print(
            f"{clock} 10.0.{dice.randrange(4)}.{dice.randrange(256)} - - GET {path} HTTP/1.1 {status} ms {length}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
