"""Prints the committed records of a topic as JSON, one a line, read with
confluent-kafka's AvroDeserializer; instants as ms since 1970, amounts as text.

avro_read.py BROKERS REGISTRY TOPIC"""

import datetime
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext



def plain(value):
    return round(value.timestamp() * 1000) if isinstance(value, datetime.datetime) else str(value)


brokers, url, topic = sys.argv[1:]
read = AvroDeserializer(SchemaRegistryClient({"url": url}))
c = Consumer({"bootstrap.servers": brokers, "group.id": "avro", "isolation.level": "read_committed",
              "enable.auto.commit": False, "enable.partition.eof": True})
left = set(c.list_topics(topic, timeout=30).topics[topic].partitions)
c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
while left:
    m = c.poll(60)
    if m is None:
        sys.exit("nothing came for a minute")
    if m.error() is None:
        print(json.dumps(read(m.value(), SerializationContext(topic, MessageField.VALUE)), default=plain))
    elif m.error().code() == KafkaError._PARTITION_EOF:
        left.discard(m.partition())
    else:
        raise KafkaException(m.error())
c.close()
