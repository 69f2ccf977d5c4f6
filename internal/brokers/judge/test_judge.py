"""Is the judge right? `python3 -m unittest` in this folder; it needs PyYAML only.

testdata/history is what 8 customers did within four minutes and what a run over it
wrote; in testdata/erased three of them are erased in between. Each record is taken away, doubled and altered in turn; the judge has
to find each, or it would not find it on a real broker either."""

import contextlib
import copy
import functools
import io
import json
import os
import tempfile
import unittest

import events
import judge
import meaning
import outputs
import verdict

HERE = os.path.dirname(os.path.abspath(__file__))
HISTORY = os.path.join(HERE, "testdata", "history")
RULES = os.path.join(HERE, "rules.yaml")
UNTIL = "2026-01-01T00:04:00.045Z"
ERASED = os.path.join(HERE, "testdata", "erased")
ERASED_UNTIL = "2026-01-01T00:13:54.192Z"


def lines(name, folder=HISTORY):
    with open(os.path.join(folder, f"{name}.jsonl"), encoding="utf-8") as f:
        return f.read().splitlines()


@functools.cache
def known_rules():
    with open(RULES, encoding="utf-8") as f:
        return meaning.rules(f.read())


@functools.cache
def recorded(folder):
    return events.read(events.load(lines("acked", folder)), events.millis(UNTIL if folder == HISTORY else ERASED_UNTIL))


@functools.cache
def written(folder, name):
    return outputs.from_file(os.path.join(folder, f"{name}.jsonl"))


def case(acked=None, until=UNTIL, folder=HISTORY, **more):
    """Returns the recorded case, of which `more` replaces parts."""
    now = events.millis(until)
    inputs = events.read(events.load(acked), now) if acked else recorded(folder)
    c = verdict.Case(
        inputs, *known_rules(),
        *(list(written(folder, n)) for n in ("changes", "triggers", "dlq")),
        now=now, history=True)
    for name, value in more.items():
        setattr(c, name, value)
    return c


def wrong(c):
    return verdict.judge(c).wrong


class Recorded(unittest.TestCase):
    def test_right(self):
        v = verdict.judge(case())
        self.assertEqual([], v.wrong)
        self.assertEqual(8, v.figures["customers judged"])
        self.assertGreater(v.figures["histories judged"], 24)  # also some of `browsing`
        self.assertGreater(v.figures["firings judged"], 15)

    def test_each_output_lost(self):
        for what in ("changes", "fired", "dead"):
            all_of_it = getattr(case(), what)
            for k in range(len(all_of_it)):
                self.assertTrue(wrong(case(**{what: all_of_it[:k] + all_of_it[k + 1 :]})), f"{what} {all_of_it[k]}")

    def test_each_output_doubled(self):
        for what in ("changes", "fired", "dead"):
            all_of_it = getattr(case(), what)
            for k, o in enumerate(all_of_it):
                found = wrong(case(**{what: all_of_it[:k] + [o] + all_of_it[k:]}))
                self.assertTrue(any("doubled" in text for text in found), f"{what} {o}: {found}")

    def test_each_doubled_by_another_id(self):
        for what, ident in (("changes", "change_id"), ("fired", "trigger_id")):
            all_of_it = getattr(case(), what)
            for k, o in enumerate(all_of_it):
                twin = copy.deepcopy(o)
                twin.body[ident] = "another"
                self.assertTrue(wrong(case(**{what: all_of_it[: k + 1] + [twin] + all_of_it[k + 1 :]})), f"{what} {o}")

    def test_repeats_are_allowed_without_transactions(self):
        c = case()
        c = case(repeats=True, changes=c.changes + c.changes[-3:], fired=c.fired + c.fired[:2], dead=c.dead * 2)
        self.assertEqual([], wrong(c))
        self.assertTrue(wrong(case(repeats=True, changes=c.changes[1:])))

    def test_each_field_of_changes(self):
        other = {"customer_id": "c999", "segment": "nobodys", "sequence": 99, "cause_event_id": "e999", "effective_at": UNTIL}
        for k, o in enumerate(case().changes):
            turned = {"action": "exited" if o.body["action"] == "entered" else "entered", **other}
            if o.body["cause"] != "event":
                del turned["cause_event_id"]
            for name, value in turned.items():
                c = case()
                c.changes[k] = altered(o, name, value)
                if name == "effective_at" and o.body["segment"] != "browsing" and alone(c.changes, o):
                    continue  # when events came is not known to the judge
                self.assertTrue(wrong(c), f"{name} of {o}")

    def test_each_field_of_triggers(self):
        for k, o in enumerate(case().fired):
            for name, value in {"customer_id": "c999", "trigger": "x", "sequence": 99, "anchor_at": UNTIL, "anchor_event_id": "e999", "due_at": UNTIL}.items():
                c = case()
                c.fired[k] = altered(o, name, value)
                self.assertTrue(wrong(c), f"{name} of {o}")


def altered(o, name, value):
    o = copy.deepcopy(o)
    o.body[name] = value
    return o


def alone(changes, o):
    """Reports whether no other change of the customer follows o's."""
    mine = [x for x in changes if x.body["customer_id"] == o.body["customer_id"]]
    return mine[-1].body["change_id"] == o.body["change_id"]


def erased(**more):
    return case(until=ERASED_UNTIL, folder=ERASED, **more)


class Erased(unittest.TestCase):
    """Customers who are erased begin again."""

    def test_right(self):
        self.assertEqual([], wrong(erased()))
        self.assertEqual({"c1", "c2", "c3"}, {o.body["customer_id"] for o in erased().changes if o.body["action"] == "erased"})

    def test_each_change_lost_or_doubled(self):
        emitted = erased().changes
        for k, o in enumerate(emitted):
            self.assertTrue(wrong(erased(changes=emitted[:k] + emitted[k + 1 :])), f"lost: {o}")
            self.assertTrue(wrong(erased(changes=emitted[:k] + [o] + emitted[k:])), f"doubled: {o}")

    def test_somebody_comes_back(self):
        emitted = erased().changes
        for customer in ("c1", "c2", "c3"):
            first = next(o for o in emitted if o.body["customer_id"] == customer)
            again = copy.deepcopy(first)
            again.body.update(change_id="again", effective_at=ERASED_UNTIL)
            self.assertTrue(wrong(erased(changes=[*emitted, again])), customer)

    def test_nothing_of_a_former_life_counts(self):
        c = erased()
        for o in c.fired:  # as if nothing had fired since the erasure
            if o.body["customer_id"] == "c1" and o.body["fired_at"] > "2026-01-01T00:06:09":
                c.fired = [f for f in c.fired if f is not o]
        self.assertNotEqual(len(erased().fired), len(c.fired))
        self.assertTrue(any("lost: customer c1, trigger" in w for w in wrong(c)))


class Meaning(unittest.TestCase):
    """Events that are acknowledged, and outputs that then must be missed."""

    def add(self, stream, offset, **body):
        r = {"topic": f"app.{stream}", "partition": 0, "offset": offset, "timestamp_ms": events.millis("2026-01-01T00:03:00Z"),
             "key": body.get("customer_id"), "value": json.dumps({"occurred_at": "2026-01-01T00:03:00Z", **body})}
        return [*lines("acked"), json.dumps(r)]

    def test_an_event_that_was_not_counted(self):
        for stream, body in {
            "email": {"action": "clicked"}, "purchase": {"kind": "completed", "revenue": "5000"},
            "web": {"name": "product_added", "items": [{"product_id": "p", "quantity": 1}]},
        }.items():
            self.assertTrue(wrong(case(self.add(stream, 9999, event_id="new", customer_id="c0", **body))), stream)

    def test_a_copy_changes_nothing(self):
        for line in lines("acked")[::5]:
            r = json.loads(line)
            if events.parse(r["value"]) is None:
                continue
            r["offset"] += 100_000
            self.assertEqual([], wrong(case([*lines("acked"), json.dumps(r)])), line)

    def test_a_refused_record_is_a_dead_letter(self):
        for body in ({}, {"event_id": "x", "occurred_at": "yesterday", "customer_id": "c0"}):
            self.assertTrue(any("dead letter" in w for w in wrong(case(self.add("web", 9999, **body)))), body)

    def test_a_customer_whom_the_engine_never_saw(self):
        self.assertTrue(wrong(case(self.add("email", 9999, event_id="x", customer_id="new", action="clicked"))))

    def test_refunds_subtract(self):
        def e(n, kind, revenue):
            return events.Event("purchase", "s", str(n), "c", 1000 + n, ("a.purchase", 0, n), 0, {"kind": kind, "revenue": revenue})

        bought = [e(1, "completed", "400.50"), e(2, "completed", "99.50")]
        self.assertTrue(meaning.member("spenders", bought, 2000))
        refunded = [*bought, e(3, "refunded", "0.01")]
        self.assertFalse(meaning.member("spenders", refunded, 2000))
        self.assertEqual(2, meaning.changes("spenders", refunded, 2000))
        self.assertFalse(meaning.member("regulars", refunded, 2000))

    def test_windows_end_to_the_millisecond(self):
        web = [events.Event("web", "s", str(t), "c", t, ("a.web", 0, t), 0, {}) for t in (0, 5, 10)]
        self.assertTrue(meaning.member("browsing", web, 19_999))
        self.assertFalse(meaning.member("browsing", web, 20_000))
        self.assertEqual([10, 20_000], meaning.browsed(web, 30_000))

    def test_an_erasure_begins_again_at_one(self):
        stone = json.dumps({"topic": "app.profile", "partition": 0, "offset": 0, "key": "c1", "value": None,
                            "timestamp_ms": events.millis("2026-02-01T00:00:00Z")})
        until = "2026-02-02T00:00:00Z"  # by then nobody is a `regular` or a `spender` either
        found = wrong(case([*lines("acked"), stone], until))
        self.assertTrue(any("no receipt" in w for w in found), found)
        self.assertTrue(any("doubled: customer c1, segment regulars" in w for w in found), found)

    def test_times(self):
        for text, ms in {"2026-01-01T01:00:00.1239+01:00": 1767225600123, 1767225600: 1767225600000, 1767225600123456: 1767225600123,
                         "2026-01-01T00:00:00": None, True: None, "2026-13-01T00:00:00Z": None}.items():
            self.assertEqual(ms, events.millis(text), text)
        self.assertEqual("2026-01-01T00:00:00.007Z", events.instant(1767225600007))


class CommandLine(unittest.TestCase):
    def run_judge(self, *more, rules=RULES):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = judge.run(["--files", HISTORY, "--acked", os.path.join(HISTORY, "acked.jsonl"), "--rules", rules, *more])
        return code, out.getvalue()

    def test_exit_codes(self):
        code, text = self.run_judge("--until", UNTIL)
        self.assertEqual(0, code)
        self.assertIn("nothing lost, doubled or wrong: 177 records", text)
        code, text = self.run_judge("--until", "2026-01-01T00:02:00Z")  # an earlier end: later firings are not due
        self.assertEqual(1, code)
        self.assertIn("WRONG", text)

    def test_rules_that_it_does_not_know(self):
        with open(RULES, encoding="utf-8") as f:
            text = f.read()
        for old, new in ((">= 500", ">= 501"), ("after: 25s", "after: 26s"), ("id: browsing", "id: browsers"), ("triggers:", "lifecycles: []\ntriggers:")):
            self.assertIn(old, text)
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
                f.write(text.replace(old, new))
                f.flush()
                with self.assertRaises(events.CannotJudge, msg=new):
                    self.run_judge("--until", UNTIL, rules=f.name)


class WithinTheGrace(unittest.TestCase):
    """An event behind a newer one of its topic, but is not late, is
    taken when other topics have been read further: its turn is not its own time."""

    def history(self, last):
        def web(offset, customer, at):
            body = {"event_id": f"e{offset}", "customer_id": customer, "occurred_at": at, "name": "page_viewed"}
            return json.dumps({"topic": "x.web", "partition": 0, "offset": offset, "timestamp_ms": at, "key": customer, "value": json.dumps(body)})

        start = events.millis("2026-01-01T00:00:00Z")
        acked = [web(0, "a", start), web(1, "b", start + 3_000), web(2, "a", start + last)]
        inputs = events.read(events.load(acked), start + 60_000)
        c = verdict.Case(inputs, *known_rules(), [], [], [], now=start + 60_000, history=True)
        c.home = {"a": 0}
        return verdict.in_order(c, "a", inputs.events["a"])

    def test_behind(self):
        self.assertFalse(self.history(2_000))
        self.assertTrue(self.history(3_000))


if __name__ == "__main__":
    unittest.main()
