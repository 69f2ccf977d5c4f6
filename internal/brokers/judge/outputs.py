"""Reads what the engine wrote: with librdkafka, or from files."""

import json
import os
import time
import uuid
from dataclasses import dataclass, field

from events import CannotJudge, parse


@dataclass
class Output:
    """One record of an output topic."""

    partition: int
    offset: int
    key: str
    body: dict  # the value, None in dead letters
    headers: dict = field(default_factory=dict)


def decoded(topic, partition, offset, key, value, headers):
    body = None
    if "dlq.topic" not in headers:
        body = parse(value or b"")
        if body is None:
            raise CannotJudge(f"{topic}/{partition}@{offset} is not JSON: the judge needs output.format: json")
    return Output(partition, offset, key, body, headers)


def from_file(path):
    """Reads records, one JSON object a line. No file is no record."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f if line.strip()]
    return [
        decoded(path, r["partition"], r["offset"], r.get("key"), (r.get("value") or "").encode(), r.get("headers") or {})
        for r in lines
    ]


def from_topic(brokers, topic, patience=120):
    """Reads the committed records of a topic up to the end that it has now."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    c = Consumer({
        "bootstrap.servers": brokers, "group.id": f"judge-{uuid.uuid4()}", "isolation.level": "read_committed",
        "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
    })
    try:
        meta = c.list_topics(topic, timeout=30).topics[topic]
        if meta.error is not None:
            raise CannotJudge(f"topic {topic}: {meta.error}")
        ends = {p: c.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in meta.partitions}
        c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in ends])
        left, got, deadline = set(ends), [], time.monotonic() + patience
        while left:
            if time.monotonic() > deadline:
                raise CannotJudge(f"topic {topic}: partitions {sorted(left)} were not read to their ends in {patience} s: is a transaction open, a leader missing?")
            for m in c.consume(1000, timeout=0.2):
                if m.error() is None:
                    headers = {k: (v or b"").decode("utf-8", "replace") for k, v in m.headers() or []}
                    key = None if m.key() is None else m.key().decode("utf-8", "replace")
                    got.append(decoded(topic, m.partition(), m.offset(), key, m.value(), headers))
                elif m.error().code() != KafkaError._PARTITION_EOF:
                    if not m.error().retriable():
                        raise CannotJudge(f"topic {topic}: {m.error()}")
                elif m.offset() >= ends[m.partition()]:
                    left.discard(m.partition())
        return sorted(got, key=lambda o: (o.partition, o.offset))
    finally:
        c.close()


def counts(brokers, places):
    """Returns how many offsets the partitions of the inputs hold, by partition."""
    from confluent_kafka import Consumer, TopicPartition

    c = Consumer({"bootstrap.servers": brokers, "group.id": f"judge-{uuid.uuid4()}"})
    try:
        return {p: c.get_watermark_offsets(TopicPartition(*p), timeout=30) for p in sorted(places)}
    finally:
        c.close()
