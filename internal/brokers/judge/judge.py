"""An independent judge of segmill's promise.

It shares no code with the engine: it counts from the records that brokers have
acknowledged, reads the outputs with librdkafka, and says what is lost,
doubled or wrong. It exits with 0 and a line of figures, with 1 and a list of
what is wrong, or with 2 if it cannot judge, and says why.

DIR/acked.jsonl has one object a line: topic, partition, offset, timestamp_ms, key,
and value as text (or value_b64; null is a tombstone). The last part of a topic's
name is its stream. The rules are those of rules.yaml, all or some.

Without --until the outputs are of a live run, judged as of now: call it when all
is read. What time alone did in the last --settle seconds may be missing then.
With --until they are of `segmill run --until`. What a late event changes about
the past depends on when it was read, so a judge who does not know that judges
final memberships of all, the number of changes where it does not depend on it,
and each firing by its anchor. --files DIR reads changes.jsonl, triggers.jsonl
and dlq.jsonl in place of topics.
"""

import argparse
import os
import sys
import time
import traceback

import events
import meaning
import outputs
import verdict


def arguments(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--brokers", help="host:port,...")
    p.add_argument("--files", help="a directory with the outputs, in place of --brokers and topics")
    p.add_argument("--changes", default="segments.changes")
    p.add_argument("--triggers", default="triggers.fired")
    p.add_argument("--dlq", help="topic of the dead letters")
    p.add_argument("--acked", required=True, help="file of acknowledged records")
    p.add_argument("--rules", required=True, help="the rule file that the engine ran with")
    p.add_argument("--until", help="the instant that the run ended at, RFC 3339")
    p.add_argument("--settle", type=float, default=15, help="seconds; only without --until")
    p.add_argument("--at-least-once", action="store_true", help="outputs may be there again")
    p.add_argument("--show", type=int, default=40, help="how much of what is wrong is printed")
    a = p.parse_args(argv)
    if bool(a.brokers) == bool(a.files) or a.brokers and not a.dlq:
        p.error("either --files, or --brokers and --dlq")
    return a


def read_outputs(a):
    """Returns changes, triggers and dead letters."""
    if a.files:
        return [outputs.from_file(os.path.join(a.files, f"{n}.jsonl")) for n in ("changes", "triggers", "dlq")]
    return [outputs.from_topic(a.brokers, t) for t in (a.changes, a.triggers, a.dlq)]


def unacknowledged(a, records):
    """Returns how many offsets of the inputs have no acknowledged record."""
    if not a.brokers:
        return 0
    mine = {}
    for r in records:
        mine.setdefault((r["topic"], int(r["partition"])), set()).add(int(r["offset"]))
    ends = outputs.counts(a.brokers, mine)
    return sum(high - low - sum(low <= o < high for o in mine[p]) for p, (low, high) in ends.items())


def run(argv):
    """Judges; returns the exit code."""
    a = arguments(argv)
    now = int(time.time() * 1000)
    until = None
    if a.until:
        until = events.millis(a.until)
        if until is None:
            raise events.CannotJudge(f"--until {a.until} is no time")
    with open(a.rules, encoding="utf-8") as f:
        segments, triggers = meaning.rules(f.read())
    with open(a.acked, encoding="utf-8") as f:
        records = events.load(f)
    inputs = events.read(records, until)
    changes, fired, dead = read_outputs(a)
    v = verdict.judge(verdict.Case(
        inputs, segments, triggers, changes, fired, dead, now if until is None else until,
        settle=0 if until is not None else int(a.settle * 1000), repeats=a.at_least_once, history=until is not None,
    ))
    figures = {"records": inputs.records, "copies": inputs.copies, "refused": len(inputs.refused),
               "left unread": inputs.unread, "offsets not acknowledged": unacknowledged(a, records), **v.figures}
    line = ", ".join(f"{n} {what}" for what, n in figures.items())
    if not v.wrong:
        print(f"nothing lost, doubled or wrong: {line}")
        return 0
    for text in v.wrong[: a.show]:
        print(text)
    if len(v.wrong) > a.show:
        print(f"and {len(v.wrong) - a.show} more")
    print(f"{len(v.wrong)} WRONG: {line}")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except events.CannotJudge as e:
        print(f"cannot judge: {e}", file=sys.stderr)
    except Exception:  # pylint: disable=broad-except: 1 would say that the engine is wrong
        traceback.print_exc()
    sys.exit(2)
