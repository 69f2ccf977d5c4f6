"""What the rules of rules.yaml mean, by counting over a list of events."""

from collections import defaultdict
from decimal import Decimal

import yaml

from events import CannotJudge

DAYS_30 = 30 * 24 * 3600 * 1000
SECONDS_20 = 20_000

# The conditions that the functions below implement.
CONDITIONS = {
    "regulars": "count(purchase, days(30)) >= 3",
    "spenders": "sum(purchase.revenue, days(30)) >= 500",
    "browsing": 'count(web, duration("20s")) >= 3',
    "clicked_odd": 'count(email.action == "clicked") % 2 == 1',
}
TRIGGERS = {
    "silent": {"kind": "inactivity", "after": "25s"},
    "cart_left": {"kind": "abandoned_cart", "after": "30s"},
}
AFTER = {"silent": 25_000, "cart_left": 30_000}


def rules(text):
    """Returns the ids of the segments and triggers in a rule file, all known."""
    doc = yaml.safe_load(text) or {}
    for s in doc.get("segments") or []:
        if CONDITIONS.get(s["id"]) != " ".join(s["when"].split()):
            raise CannotJudge(f"segment {s['id']} is none of those that the judge knows, or has another condition")
    for t in doc.get("triggers") or []:
        if TRIGGERS.get(t["id"]) != {k: v for k, v in t.items() if k != "id"}:
            raise CannotJudge(f"trigger {t['id']} is none of those that the judge knows, or is defined otherwise")
    if set(doc) - {"version", "segments", "triggers"}:
        raise CannotJudge("the judge knows no rule files with other parts than segments and triggers")
    return [s["id"] for s in doc.get("segments") or []], [t["id"] for t in doc.get("triggers") or []]


def completed(e):
    """A bare `purchase` is a completed one; a kind left out is that."""
    return e.stream == "purchase" and str(e.body.get("kind") or "completed").lower() == "completed"


def amount(e):
    """Returns the signed revenue of an order, 0 of other events."""
    if e.stream != "purchase":
        return Decimal(0)
    kind = str(e.body.get("kind") or "completed").lower()
    sign = {"completed": 1, "refunded": -1, "cancelled": -1}.get(kind, 0)
    if e.body.get("revenue") is None:
        raise CannotJudge(f"{e.place}: an order without revenue")
    return sign * Decimal(str(e.body["revenue"]))


def clicked(e):
    return e.stream == "email" and str(e.body.get("action")).lower() == "clicked"


def active(e):
    """The default activity."""
    if e.stream == "web" or completed(e) or clicked(e):
        return True
    return e.stream == "email" and str(e.body.get("action")).lower() == "opened" and not e.body.get("machine_open")


def within(events, now, window):
    """Returns those of the last so much time: now - window < t <= now."""
    return [e for e in events if now - window < e.time <= now]


def member(segment, events, now):
    """Reports whether somebody with these events is in a segment at an instant."""
    if segment == "regulars":
        return sum(completed(e) for e in within(events, now, DAYS_30)) >= 3
    if segment == "spenders":
        return sum(map(amount, within(events, now, DAYS_30))) >= 500
    if segment == "browsing":
        return sum(e.stream == "web" for e in within(events, now, SECONDS_20)) >= 3
    return sum(clicked(e) for e in events if e.time <= now) % 2 == 1


def changes(segment, events, now):
    """Returns how often a membership changed, or None where it depends on when
    events came to the engine. `events` are in the order of their offsets."""
    if segment == "clicked_odd":
        return sum(map(clicked, events))  # each click turns it, whatever their order
    mine = [e for e in events if e.stream == "purchase"]
    if segment == "browsing" or len({e.place[:2] for e in mine}) > 1 or any(e.time <= now - DAYS_30 for e in mine):
        return None
    if segment == "regulars":
        return int(member(segment, mine, now))
    total, inside, turns = Decimal(0), False, 0
    for e in mine:
        total += amount(e)
        if (total >= 500) != inside:
            inside, turns = not inside, turns + 1
    return turns


def browsed(events, now):
    """Returns the instants at which `browsing` changes, for web events in order of
    time: what leaves the window does so before what comes at the same instant."""
    web = [e.time for e in events if e.stream == "web"]
    steps = sorted([(t + SECONDS_20, 0) for t in web if t + SECONDS_20 <= now] + [(t, 1) for t in web])
    count, turns = 0, []
    for at, comes in steps:
        count += 1 if comes else -1
        if (count >= 3) != (len(turns) % 2 == 1):
            turns.append(at)
    return turns


def carts(e):
    if e.stream == "web" and (e.body.get("name") == "cart_updated" or e.body.get("cart_id")):
        raise CannotJudge(f"{e.place}: a cart with an id, or one that is replaced")
    if e.stream != "web" or e.body.get("name") not in ("product_added", "product_removed"):
        return False
    if not e.body.get("items"):
        raise CannotJudge(f"{e.place}: {e.body['name']} without items")
    return True


def cart(events):
    """Returns the time of the last change of what is in the cart, and what is in
    it by product, after all events."""
    cleared = max((e.time for e in events if completed(e)), default=-(10**15))
    entries = sorted((e for e in events if carts(e) and e.time > cleared), key=lambda e: (e.time, e.body["name"]))
    left = defaultdict(int)  # of two at one instant, the addition comes first
    for e in entries:
        for item in e.body["items"]:
            n = int(item.get("quantity", 1))
            left[item["product_id"]] = max(0, left[item["product_id"]] + (n if e.body["name"] == "product_added" else -n))
    return (entries[-1].time if entries else None), {p: n for p, n in left.items() if n > 0}
