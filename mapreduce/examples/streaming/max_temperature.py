"""Secondary sort: of lines `station<TAB>day<TAB>degrees` the map makes `station<TAB>degrees<TAB>day`; they come sorted by station,
then by degrees, the highest first: the reducer takes the first line of each station."""
import sys

if sys.argv[1] == "map":
    for line in sys.stdin:
        station, day, degrees = line.rstrip("\n").split("\t")
        print(station, degrees, day, sep="\t")
else:
    before = None
    for line in sys.stdin:
        station, degrees, day = line.rstrip("\n").split("\t")
        if station != before:
            print(station, day, degrees, sep="\t")
        before = station
