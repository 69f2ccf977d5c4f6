"""Writes purchases with many schemas, as other teams do: fastavro, and a registry
that is asked over HTTP. Each customer is one case: three orders of 200 at
FIRST_MS and 1 and 2 seconds later. A customer bad-CAUSE-... has three records that
have to be dead letters with that cause.

FIRST_MS is a whole second. With CUSTOMER, a case is written once more under that
name, and nothing else.

avro_write.py BROKERS REGISTRY TOPIC FIRST_MS [CUSTOMER]"""

import io
import json
import struct
import sys
from decimal import Decimal

import fastavro
import requests
from confluent_kafka import Producer


def decimal(scale, of="bytes"):
    shape = {"type": "bytes"} if of == "bytes" else {"type": "fixed", "name": "Amount", "size": 8}
    return {**shape, "logicalType": "decimal", "precision": 18, "scale": scale}


def time(unit):
    return {"type": "long", "logicalType": f"timestamp-{unit}"}


def schema(revenue=decimal(4), occurred_at=time("millis"), more=(), customer="string"):
    return {"type": "record", "name": "Order", "namespace": "shop", "fields": [
        *more, {"name": "event_id", "type": "string"}, {"name": "customer_id", "type": customer},
        {"name": "occurred_at", "type": occurred_at}, {"name": "order_id", "type": "string"},
        {"name": "revenue", "type": revenue}, {"name": "currency", "type": "string"}]}


FEWER = schema()
MORE = schema(more=[{"name": "till", "type": "int", "default": 0}])
MOST = schema(more=[{"name": "till", "type": "int", "default": 0}, {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
                    {"name": "gift", "type": ["null", {"type": "record", "name": "Gift", "fields": [{"name": "to", "type": "string"}]}], "default": None}])

MONEY = Decimal("200")
# customer: schemas of the three orders, revenue, unit of occurred_at per second
CASES = {
    "evolution": ([FEWER, MORE, MOST], MONEY, 1000),  # under the registry's own rules
    "bytes-scale-4": ([schema()], MONEY, 1000),
    "bytes-scale-2": ([schema(decimal(2))], MONEY, 1000),
    "bytes-scale-0": ([schema(decimal(0))], MONEY, 1000),
    "bytes-scale-6": ([schema(decimal(6))], MONEY, 1000),
    "fixed-scale-2": ([schema(decimal(2, "fixed"))], MONEY, 1000),
    "fixed-scale-4": ([schema(decimal(4, "fixed"))], MONEY, 1000),
    "double": ([schema("double")], 200.0, 1000),
    "whole-number": ([schema("long")], 200, 1000),
    "text": ([schema("string")], "200.00", 1000),
    "micros": ([schema(occurred_at=time("micros"))], MONEY, 10**6),
    "nanos": ([schema(occurred_at=time("nanos"))], MONEY, 10**9),
    "long-seconds": ([schema(occurred_at="long")], MONEY, 1),
    "long-millis": ([schema(occurred_at="long")], MONEY, 1000),
    "long-micros": ([schema(occurred_at="long")], MONEY, 10**6),
    "nullable-money": ([schema(["null", decimal(2)])], MONEY, 1000),
    "nullable-last": ([schema([decimal(4, "fixed"), "null"], [time("millis"), "null"], customer=["string", "null"])], MONEY, 1000),
    "nullable-all": ([schema(["null", decimal(4)], ["null", time("micros")], customer=["null", "string"])], MONEY, 10**6),
    "six-digits": ([schema(decimal(6))], Decimal("199.999991"), 1000),  # is rounded to four
    "bad-schema-foreign": ([schema(more=[{"name": "foreign", "type": "int", "default": 0}])], MONEY, 1000),
    "bad-schema-unknown": ([schema()], MONEY, 1000),
    "bad-decode-cut": ([schema()], MONEY, 1000),
}


class Registry:
    def __init__(self, url):
        self.url, self.http = url, requests.Session()

    def ask(self, method, path, body):
        r = self.http.request(method, self.url + path, data=json.dumps(body), headers={"Content-Type": "application/vnd.schemaregistry.v1+json"}, timeout=30)
        if r.status_code != 200:
            sys.exit(f"{method} {path}: {r.status_code} {r.text}")
        return r.json()

    def register(self, subject, text):
        return self.ask("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(text)})["id"]


def main(brokers, url, topic, first, again=None):
    registry, failed, cases = Registry(url), [], {again: CASES["evolution"]} if again else CASES
    p = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    for customer, (schemas, money, unit) in cases.items():
        if customer == "bytes-scale-4":  # what follows is no evolution
            registry.ask("PUT", f"/config/{topic}-value", {"compatibility": "NONE"})
        for n in range(3):
            s = schemas[n % len(schemas)]
            subject = "others-value" if customer == "bad-schema-foreign" else f"{topic}-value"
            number = registry.register(subject, s) if customer != "bad-schema-unknown" else 999_999
            order = {"event_id": f"{customer}-{n}", "customer_id": customer, "occurred_at": int(first) * unit // 1000 + n * unit, "order_id": str(n),
                     "revenue": money, "currency": "EUR", "till": 3, "tags": ["a"], "gift": {"to": "mum"}, "foreign": 1}
            names = {f["name"] for f in s["fields"]}
            out = io.BytesIO()
            out.write(struct.pack(">bI", 0, number))
            fastavro.schemaless_writer(out, fastavro.parse_schema(s), {k: v for k, v in order.items() if k in names})
            value = out.getvalue()[:-6] if customer == "bad-decode-cut" else out.getvalue()
            p.produce(topic, key=customer, value=value, on_delivery=lambda err, _: err and failed.append(err))
    if p.flush(60) or failed:
        sys.exit(f"not delivered: {failed[:3]}")


main(*sys.argv[1:])
