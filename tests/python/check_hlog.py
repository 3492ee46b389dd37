"""Reads one tag of an HdrHistogram interval log with the Python reader and prints its count and p99.

Usage: check_hlog.py FILE TAG
Needs: pip install hdrhistogram==0.10.8
Prints "count=N p99=V", values in nanoseconds, over all intervals with that tag; exits with 1 if there is none.
"""

import sys

from hdrh.log import HistogramLogReader


def main(path, wanted_tag):
    """Adds up all intervals of the tag and prints the sum's count and 99th percentile."""
    reader = HistogramLogReader(path, reference_histogram=None)
    found = []
    while (interval := reader.get_next_interval_histogram()) is not None:
        if interval.get_tag() == wanted_tag:
            found.append(interval)
    reader.close()
    if not found:
        print(f"no interval with tag {wanted_tag} in {path}", file=sys.stderr)
        return 1
    total = found[0]
    for interval in found[1:]:
        total.add(interval)
    print(f"count={total.get_total_count()} p99={total.get_value_at_percentile(99.0)}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
