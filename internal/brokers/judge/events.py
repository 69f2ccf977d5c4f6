"""What brokers have acknowledged: the records of the inputs.

Everything here is written from the documents alone (docs/formats.md,
docs/rules.md). Nothing is shared with the engine, so that one mistake cannot be
made twice by copying.
"""

import base64
import datetime
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

STREAMS = ("web", "email", "purchase", "profile", "consent")
DAY_MS = 24 * 3600 * 1000


class CannotJudge(Exception):
    """The judge was given something that it has no opinion about."""


@dataclass(frozen=True)
class Event:
    """One accepted record."""

    stream: str
    source: str
    id: str
    customer: str
    time: int  # event time, ms since 1970
    place: tuple  # topic, partition, offset
    stamp: int  # the record's Kafka timestamp, ms
    body: dict = field(hash=False, compare=False)


@dataclass
class Inputs:
    """What the acknowledged records come to."""

    events: dict  # customer: distinct events, each topic's in order of offset
    refused: set  # places of records that must be dead letters
    erased: dict  # customer: Kafka timestamps of the tombstones
    idle: dict  # (topic, partition): offsets that do not lead the merge, late or refused
    behind: set  # places of events that are older than one before them in their partition
    records: int
    copies: int  # records that repeat an event
    unread: int  # records at or behind one that is later than `until`
    unclear: dict  # customer: why nothing can be said about them


def millis(value):
    """Returns a time of docs/formats.md in ms, or None if it is not one."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, Decimal)):
        size = abs(value)
        scale = 1000 if size < 10**11 else 1 if size < 10**14 else Decimal("0.001")
        return int(value * scale // 1)
    m = re.fullmatch(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", str(value))
    if not m:
        return None
    try:
        at = datetime.datetime.fromisoformat(m[1].upper() + ("+00:00" if m[3] in "Zz" else m[3]))
    except ValueError:
        return None
    return int(at.timestamp()) * 1000 + int(((m[2] or "") + "000")[:3])


def instant(ms):
    """Returns ms as the outputs write it."""
    at = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def parse(data):
    """Returns the object in a JSON text, or None if there is none."""
    try:
        body = json.loads(data, parse_float=Decimal)
    except (ValueError, UnicodeDecodeError):
        return None
    return body if isinstance(body, dict) else None


def stream_of(topic):
    """Returns the stream of a topic: the last part of its name says it."""
    name = re.split(r"[.\-_]", topic)[-1]
    if name not in STREAMS:
        raise CannotJudge(f"topic {topic}: its name must end in one of {', '.join(STREAMS)}")
    return name


def load(lines):
    """Reads acknowledged records, one JSON object a line, without repeats."""
    seen = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            r = json.loads(line)
            seen[(r["topic"], int(r["partition"]), int(r["offset"]))] = r
        except (ValueError, KeyError, TypeError) as e:
            raise CannotJudge(f"acked.jsonl:{number}: {e!r}") from e
    if not seen:
        raise CannotJudge("no record was acknowledged")
    return [seen[place] for place in sorted(seen)]


def value_of(record):
    """Returns the bytes of a record's value, None for a tombstone."""
    if record.get("value_b64") is not None:
        return base64.b64decode(record["value_b64"])
    return None if record.get("value") is None else record["value"].encode()


def decode(record, place):
    """Returns the event of a record, or None if it has to be refused."""
    body = parse(value_of(record) or b"")
    if body is None:
        return None
    time, key = millis(body.get("occurred_at")), record.get("key")
    customer = body.get("customer_id") or (body.get("anonymous_id") and "anon:" + body["anonymous_id"]) or key
    if not body.get("event_id") or time is None or not customer:
        return None
    if time > record["timestamp_ms"] + DAY_MS:
        return None  # dated too far ahead, whenever it is read
    if time > record["timestamp_ms"] + 60_000:
        raise CannotJudge(f"{place}: an event {time - record['timestamp_ms']} ms ahead is refused or not, as its reader's clock says")
    return Event(stream_of(place[0]), body.get("source") or "/unknown", body["event_id"], customer, time, place, record["timestamp_ms"], body)


def read(records, until, grace=2000):
    """Works out what the records mean. `until` ends the reading, ms or None."""
    got = Inputs(defaultdict(list), set(), defaultdict(list), defaultdict(set), set(), 0, 0, 0, {})
    known, copies, ended, latest = {}, [], set(), {}
    for r in records:
        place = (r["topic"], int(r["partition"]), int(r["offset"]))
        part = place[:2]
        if part in ended:
            got.unread += 1
            continue
        got.records += 1
        if value_of(r) is None and stream_of(place[0]) == "profile":
            got.erased[r["key"]].append(r["timestamp_ms"])
            continue
        e = decode(r, place)
        if e is None:
            got.refused.add(place)
            got.idle[part].add(place[2])
            continue
        if until is not None and e.time > until:
            ended.add(part)
            got.records -= 1
            got.unread += 1
            continue
        if e.time < latest.get(part, e.time) - grace:
            got.idle[part].add(place[2])
        if e.time < latest.get(part, e.time):
            got.behind.add(place)
        latest[part] = max(e.time, latest.get(part, e.time))
        first = known.setdefault((e.customer, e.stream, e.source, e.id), e)
        if first is e:
            got.events[e.customer].append(e)
        else:
            copies.append((first, e))
    got.copies = len(copies)
    for first, again in copies:
        why = doubtful(got, first, again)
        if why:
            got.unclear[first.customer] = why
    return got


def doubtful(got, first, again):
    """Returns why a copy may be more than a copy, or None."""
    if first.body != again.body:
        return "two events with one id differ"
    if any(min(first.stamp, again.stamp) <= s <= max(first.stamp, again.stamp) for s in got.erased.get(first.customer, [])):
        return "an erasure came between an event and its copy, which is a new event then"
    newest = max(e.time for e in got.events[first.customer] if e.stamp <= again.stamp + 60_000 or e is first)
    if newest - again.time > DAY_MS:
        return "a copy came when its event was a day old, and may count once more"
    return None


def held_up(got, place):
    """Reports whether other topics may have been read further when the record at
    `place` was: it is late, or behind two that do not lead the merge. (One
    such record is taken with the record before it.)"""
    idle, at = got.idle[place[:2]], place[2]
    return at in idle or {at - 1, at - 2} <= idle
