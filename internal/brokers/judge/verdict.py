"""Compares what was written with what follows from the events."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from events import CannotJudge, held_up, instant, millis
from meaning import AFTER, DAYS_30, SECONDS_20
from meaning import active, browsed, cart, carts, changes, completed, member, within


@dataclass
class Case:
    """Everything that is judged."""

    inputs: object
    segments: list
    triggers: list
    changes: list  # Outputs
    fired: list
    dead: list
    now: int  # the instant as of which memberships are judged, ms
    settle: int = 0  # what time alone did within so many ms before it may be missing
    repeats: bool = False  # without transactions, records may be there again
    history: bool = False  # the clock followed the events up to `now`

    def __post_init__(self):
        self.home = {o.body["customer_id"]: o.partition for o in self.changes + self.fired}


@dataclass
class Verdict:
    wrong: list = field(default_factory=list)
    figures: Counter = field(default_factory=Counter)

    def say(self, text):
        self.wrong.append(text)


def judge(case):
    """Returns the verdict."""
    v = Verdict()
    emitted = ordered_changes(case, v)
    fired = ordered_triggers(case, v)
    dead_letters(case, v)
    known = set(case.inputs.events) | set(case.inputs.erased)
    for customer in sorted({c for c, _ in emitted} | {c for c, _ in fired}):
        if customer not in known:
            v.say(f"customer {customer} has outputs and no event")
    receipts(case, v)
    for customer, events in sorted(case.inputs.events.items()):
        if customer in case.inputs.unclear or not settled_erasure(case, customer, events):
            v.figures["customers not judged"] += 1
            continue
        v.figures["customers judged"] += 1
        fresh = since_erasure(case, customer, events)
        for s in case.segments:
            one_membership(case, v, customer, s, fresh, emitted[customer, s])
        for t in case.triggers:
            one_trigger(case, v, customer, t, fresh, fired[customer, t])
    if 2 * v.figures["customers not judged"] > len(case.inputs.events):
        raise CannotJudge(f"{v.figures['customers not judged']} of {len(case.inputs.events)} customers cannot be judged")
    return v


def settled_erasure(case, customer, events, apart=60_000):
    """Reports whether it is clear which events came before the erasures: by their
    own time and by Kafka's, with a minute to spare."""
    return all(
        max(e.stamp, e.time) < s - apart or min(e.stamp, e.time) > s + apart
        for s in case.inputs.erased.get(customer, []) for e in events
    )


def since_erasure(case, customer, events):
    stones = case.inputs.erased.get(customer, [])
    return [e for e in events if not stones or e.stamp > max(stones)]


def receipts(case, v):
    got = Counter(o.body["customer_id"] for o in case.changes if o.body["action"] == "erased")
    for customer in case.inputs.erased:
        if customer in case.inputs.events and not got[customer]:
            v.say(f"lost: customer {customer} was erased and there is no receipt")
    for customer in got:
        if customer not in case.inputs.erased:
            v.say(f"customer {customer}: a receipt of an erasure that no one requested")


def ordered(case, v, outputs, what, ident):
    """Yields the outputs in order, checking what holds for each alone."""
    ids, home = {}, {}
    for o in outputs:
        b = o.body
        customer, where = b["customer_id"], f"{what} {o.partition}@{o.offset}"
        if o.key != customer:
            v.say(f"{where}: key {o.key} and customer_id {customer}")
        if home.setdefault(customer, o.partition) != o.partition:
            v.say(f"{where}: customer {customer} is also in partition {home[customer]}")
        if b[ident] in ids:
            if not case.repeats:
                v.say(f"doubled: {where} and {ids[b[ident]]} are both {b[ident]} of {customer}")
            v.figures["repeated outputs"] += 1
            continue
        ids[b[ident]] = f"{o.partition}@{o.offset}"
        yield o, where


def ordered_changes(case, v):
    """Returns the changes by customer and segment; those before the last erasure
    of a customer are left out once they are checked."""
    emitted, latest, members = defaultdict(list), {}, defaultdict(list)
    for o, where in ordered(case, v, case.changes, "change", "change_id"):
        b = o.body
        customer, segment = b["customer_id"], b["segment"]
        v.figures["changes"] += 1
        at = millis(b["effective_at"])
        if at < latest.get(customer, at):
            v.say(f"{where}: customer {customer} goes back from {instant(latest[customer])} to {b['effective_at']}")
        latest[customer] = at
        if b["action"] == "erased":
            for s in members.pop(customer, []):
                if len(emitted[customer, s]) % 2:
                    v.say(f"{where}: customer {customer} was erased and is still in {s}")
                emitted[customer, s] = []
            continue
        if segment not in case.segments:
            v.say(f"{where}: there is no segment {segment}")
            continue
        mine = emitted[customer, segment]
        if case.repeats and b["sequence"] <= len(mine):
            v.figures["repeated outputs"] += 1
            continue
        next_in_line(v, where, b, mine)
        mine.append(b)
        members[customer].append(segment)
    return emitted


def next_in_line(v, where, b, before):
    """Judges one change by those before it."""
    who, n = f"customer {b['customer_id']}, segment {b['segment']}", len(before) + 1
    if b["sequence"] != n:
        v.say(f"{'doubled' if b['sequence'] < n else 'lost'}: {where}: {who}: sequence {b['sequence']} in place of {n}")
    if b["action"] != ("entered" if n % 2 else "exited"):
        v.say(f"wrong: {where}: {who}: change {n} says {b['action']}")
    if n % 2 == 0 and b["member_for_ms"] != millis(b["effective_at"]) - millis(before[-1]["effective_at"]):
        v.say(f"wrong: {where}: {who}: member_for_ms is {b['member_for_ms']}")


def ordered_triggers(case, v):
    """Returns the triggers fired by customer and trigger; those before the last
    erasure of a customer are left out once they are checked."""
    fired, lives, ends = defaultdict(list), {}, defaultdict(list)
    for o in case.changes:
        if o.body["action"] == "erased":
            ends[o.body["customer_id"]].append(millis(o.body["effective_at"]))
    for o, where in ordered(case, v, case.fired, "trigger", "trigger_id"):
        b = o.body
        v.figures["triggers"] += 1
        if b["trigger"] not in case.triggers:
            v.say(f"{where}: there is no trigger {b['trigger']}")
            continue
        who = b["customer_id"], b["trigger"]
        life = sum(at < millis(b["fired_at"]) for at in ends[who[0]])
        if lives.setdefault(who, life) != life:
            lives[who], fired[who] = life, []
        mine = fired[who]
        if case.repeats and b["sequence"] <= len(mine):
            v.figures["repeated outputs"] += 1
            continue
        if b["sequence"] != len(mine) + 1:
            v.say(f"{'doubled' if b['sequence'] <= len(mine) else 'lost'}: {where}: customer {who[0]}, trigger {who[1]}: sequence {b['sequence']} in place of {len(mine) + 1}")
        mine.append(b)
    return defaultdict(list, {who: l for who, l in fired.items() if lives.get(who) == len(ends[who[0]])})


def dead_letters(case, v):
    """Each refused record is a dead letter, once, and no other record is."""
    got = Counter((o.headers["dlq.topic"], int(o.headers["dlq.partition"]), int(o.headers["dlq.offset"])) for o in case.dead)
    v.figures["dead letters"] = len(case.dead)
    for place in sorted(case.inputs.refused):
        if not got[place]:
            v.say("lost: {}/{}@{} should be a dead letter and is not".format(*place))
    for place, n in sorted(got.items()):
        if place not in case.inputs.refused:
            v.say("wrong: {}/{}@{} is a dead letter and nothing is wrong with it".format(*place))
        elif n > 1 and not case.repeats:
            v.say("doubled: {}/{}@{} is a dead letter {} times".format(*place, n))


def one_membership(case, v, customer, segment, events, emitted):
    """Judges one customer in one segment."""
    who = f"customer {customer}, segment {segment}"
    should, inside = member(segment, events, case.now), len(emitted) % 2 == 1
    if should != inside:
        if member(segment, events, case.now - case.settle) != should:
            v.figures["memberships not settled"] += 1
        else:
            v.say(f"{'lost' if should else 'wrong'}: {who}: {'a member' if should else 'no member'} by the events, the outputs say otherwise: {len(emitted)} changes")
    v.figures[f"members of {segment}"] += should
    v.figures["memberships judged"] += 1
    n, at = changes(segment, events, case.now), [millis(b["effective_at"]) for b in emitted]
    if segment == "browsing" and in_order(case, customer, events):
        turns = browsed(events, case.now)
        n = len(turns)
        if n == len(emitted) and turns != at:
            v.say(f"wrong: {who}: changes at {[*map(instant, at)]}, and {[*map(instant, turns)]} follow from the events")
    if n is not None:
        v.figures["histories judged"] += 1
        if n != len(emitted):
            v.say(f"{'lost' if len(emitted) < n else 'doubled'}: {who}: {len(emitted)} changes, {n} follow from the events")
    for b in emitted:
        cause(v, who, b, events)
        counted_in(v, who, segment, b, events)


def in_order(case, customer, events):
    """Reports whether a run over history certainly took the customer's web events
    at their own times: on the customer's partition, in order, none late, not even
    by less than the grace: other topics are read up to the event before it."""
    web = [e for e in events if e.stream == "web"]
    return (
        case.history
        and not any(held_up(case.inputs, e.place) or e.place in case.inputs.behind for e in web)
        and {e.place[1] for e in web} <= {case.home.get(customer)}
        and len({e.place[0] for e in web}) < 2
        and all(a.time <= b.time for a, b in zip(web, web[1:]))
    )


def cause(v, who, b, events):
    if b["cause"] == "event" and all(e.id != b["cause_event_id"] for e in events):
        v.say(f"wrong: {who}: change {b['sequence']} names event {b['cause_event_id']}, which is not the customer's")


def counted_in(v, who, segment, b, events):
    """An entry by a count needs that many events at its instant, even if the
    engine knew only some of them by then."""
    if b["action"] != "entered" or segment not in ("regulars", "browsing"):
        return
    at, window = millis(b["effective_at"]), DAYS_30 if segment == "regulars" else SECONDS_20
    n = sum(completed(e) if segment == "regulars" else e.stream == "web" for e in within(events, at, window))
    if n < 3:
        v.say(f"wrong: {who}: entered at {b['effective_at']} with {n} events")


def one_trigger(case, v, customer, trigger, events, fired):
    """Judges what one trigger did for one customer."""
    who, after = f"customer {customer}, trigger {trigger}", AFTER[trigger]
    touches = sorted((e for e in events if (active(e) if trigger == "silent" else carts(e))), key=lambda e: e.time)
    at_fired = []
    for b in fired:
        anchor, due = millis(b["anchor_at"]), millis(b["due_at"])
        if not any(e.time == anchor and e.id == b["anchor_event_id"] for e in touches):
            v.say(f"wrong: {who}: firing {b['sequence']} names event {b['anchor_event_id']} at {b['anchor_at']}, and there is none")
        if due != anchor + after or millis(b["fired_at"]) < due:
            v.say(f"wrong: {who}: firing {b['sequence']}: anchor {b['anchor_at']}, due {b['due_at']}, fired {b['fired_at']}")
        if at_fired and anchor <= at_fired[-1]:
            v.say(f"doubled: {who}: firing {b['sequence']} for {b['anchor_at']}, which is not later than the one before")
        at_fired.append(anchor)
        ends = [e for e in events if (active(e) if trigger == "silent" else completed(e) or carts(e)) and anchor < e.time < due]
        v.figures["fired before a late event"] += bool(ends)
        if case.history and any(e.place[1] == case.home[customer] and not held_up(case.inputs, e.place) for e in ends):
            v.say(f"wrong: {who}: firing {b['sequence']} for {b['anchor_at']}, though {ends[0].id} came at {instant(ends[0].time)}")
    for e in must(case, trigger, touches, events):
        v.figures["firings judged"] += 1
        if e.time not in at_fired:
            v.say(f"lost: {who}: nothing fired for {e.id} at {instant(e.time)}")
    for anchor in at_fired:
        if anchor + after > case.now:
            v.say(f"wrong: {who}: fired for {instant(anchor)}, which is not due by {instant(case.now)}")


def must(case, trigger, touches, events):
    """Returns the events for which a trigger has to have fired, whenever events
    came to the engine: due by now, nothing came in between, and it is certain that
    the engine had read all up to then before anything later."""
    after, done, found = AFTER[trigger], case.now - case.settle, []
    ends = touches if trigger == "silent" else sorted(filter(lambda e: carts(e) or completed(e), events), key=lambda e: e.time)
    for k, e in enumerate(ends):
        before, later = ends[: k + 1], ends[k + 1 :]
        if e.time + after > done or later and later[0].time < e.time + after or not certain(case, before, later):
            continue
        if trigger == "silent" or cart(before)[0] == e.time and cart(before)[1]:
            found.append(e)
    return found


def certain(case, before, later):
    """Reports whether the engine certainly took all of `before` before any of
    `later`: they are in that order in one partition, or in a run over history,
    which takes what is not late in the order of time."""
    if not later:
        return True
    if len({e.place[:2] for e in before + later}) == 1:
        return max(e.place[2] for e in before) < min(e.place[2] for e in later)
    home = case.home.get(before[0].customer, before[0].place[1])
    return case.history and all(e.place[1] == home and not held_up(case.inputs, e.place) for e in before)
