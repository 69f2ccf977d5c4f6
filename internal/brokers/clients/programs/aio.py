"""aiokafka with its defaults: sends lines of key<TAB>value, or prints the committed
records of a topic as such lines.

aio.py produce|consume BROKERS TOPIC"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def produce(brokers, topic):
    async with AIOKafkaProducer(bootstrap_servers=brokers) as p:
        sent = []
        for line in sys.stdin:
            key, value = line.rstrip("\n").split("\t", 1)
            sent.append(await p.send(topic, value.encode(), key=key.encode()))
        await asyncio.gather(*sent)


async def consume(brokers, topic):
    async with AIOKafkaConsumer(topic, bootstrap_servers=brokers, isolation_level="read_committed", enable_auto_commit=False,
                                auto_offset_reset="earliest", group_id=None) as c:
        ends = await c.end_offsets(c.assignment())
        while any([await c.position(p) < end for p, end in ends.items()]):
            for records in (await c.getmany(timeout_ms=200)).values():
                for r in records:
                    print(r.key.decode(), r.value.decode(), sep="\t")


asyncio.run({"produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:]))
