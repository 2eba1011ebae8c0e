"""Sum by key: lines `key<TAB>number` come sorted by key; also the combiner."""
import sys
from itertools import groupby

pairs = (line.rstrip("\n").split("\t") for line in sys.stdin)
for key, group in groupby(pairs, key=lambda pair: pair[0]):
    print(key, sum(int(number) for _, number in group), sep="\t")
