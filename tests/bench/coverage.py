"""Do the intervals of 95 % hold the truth 95 % of the time? Prints one JSON line for each quantity and number of seeds.

Studies of the embedded world are drawn from a model of it in which the truth is known (tests/helpers/simulated_world.py)
and go through the project's own functions (simulated_studies.py, which says what is called true). The world is `clear` where one
checkpoint is surely the best, and `tied` where two are as good.

Run: PYTHONPATH=.:tests python tests/bench/coverage.py [--studies=400 --seeds=3,5,10 --of=continual]    (five minutes on one core)

TABLE
"""

import argparse
import json

from helpers import simulated_studies


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seeds", default="3,5,10")
    parser.add_argument("--of", default="", help="only what has this in its name")
    options = parser.parse_args()
    for name in simulated_studies.STUDIES:
        for seeds in map(int, options.seeds.split(",")):
            for record in simulated_studies.coverage(name, seeds, options.studies) if options.of in name else ():
                print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
