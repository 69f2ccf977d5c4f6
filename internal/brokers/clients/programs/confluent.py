"""confluent-kafka with its defaults: sends lines of key<TAB>value, or prints the
committed records of a topic as such lines.

confluent.py produce|consume BROKERS TOPIC [setting=value ...]"""

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition


def produce(brokers, topic, *settings):
    failed = []
    p = Producer({"bootstrap.servers": brokers, **dict(s.split("=", 1) for s in settings)})
    for line in sys.stdin:
        key, value = line.rstrip("\n").split("\t", 1)
        p.produce(topic, key=key, value=value, on_delivery=lambda err, _: err and failed.append(err))
        p.poll(0)
    if p.flush(60) or failed:
        sys.exit(f"not delivered: {failed[:3]}")


def consume(brokers, topic):
    c = Consumer({"bootstrap.servers": brokers, "group.id": "confluent", "isolation.level": "read_committed",
                  "enable.auto.commit": False, "enable.partition.eof": True})
    left = set(c.list_topics(topic, timeout=30).topics[topic].partitions)
    c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
    while left:
        m = c.poll(60)
        if m is None:
            sys.exit("nothing came for a minute")
        if m.error() is None:
            print(m.key().decode(), m.value().decode(), sep="\t")
        elif m.error().code() == KafkaError._PARTITION_EOF:
            left.discard(m.partition())
        else:
            raise KafkaException(m.error())
    c.close()


{"produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:])
