package group

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// find names tests: a folder, and the tests of the packages in it, a pattern of
// go test -run.
type find struct{ pkg, run string }

// Tests that notice what is broken. The quicker ones come first.
var (
	scenarios  = find{"internal/sim", "Scenarios"}
	laws       = find{"internal/sim", "WakeIsNeverLate|StepsOfTheClock|EngineEqualsOracle$"}
	clocks     = find{"consumer/feed", "^Test(Wall|Events)Clock"}
	protocol   = find{"consumer", "ChangelogEnd|Death|Wrong|Zombie|Unproducible|FaultsChange"}
	virtual    = find{"consumer", "ThirtyDays/autumn"}
	registries = find{"schemas", "^Test(Answers|IDBeforeItExists|LaggingReplica|SubjectAddedLater)$"}
	changelogs = find{"consumer", "ChangelogMustBeKept"}
	own        = find{"state", "^Test(ForeignDirectories|Claim)$"}
	forwarded  = find{"consumer/feed", "ForwardedIsHeard"}
	growing    = find{"consumer", "UnevenPartitions|InputsGrow"}
	timers     = find{"consumer", "Customers|TimerFires|AfterOutage|ClockJumps|EventTimes"}
)

// mutations break one rule each, by replacing a piece of source. They run with the
// build tag mutations.
var mutations = []struct {
	name, from, to string
	by             []find // tried in order until one fails
}{
	// Inputs of any numbers of partitions.
	{
		"a task reads the partitions of its own number alone",
		`p < in.inputs.partitions[topic]; p += in.Partitions {`, `p < min(in.inputs.partitions[topic], in.Partitions); p += in.Partitions {`,
		[]find{growing},
	},
	{
		"timers do not wait for what other tasks have yet to forward",
		"if !r.bound.any {\n", "if in.Forwarded {\n",
		[]find{forwarded},
	},
	{
		"one forwarded record speaks for all tasks",
		`if in.loaded && !in.bound.any && `, `if in.loaded && `,
		[]find{forwarded},
	},
	{
		"the end to read to moves on as records are forwarded",
		`if in.awaited == nil {`, `if in.Forwarded {`,
		[]find{forwarded},
	},
	{
		"a task speaks of what it has not committed",
		"if s.batch.empty() {\n\t\t\ts.speak()", "if s.batch.steps >= 0 {\n\t\t\ts.speak()",
		[]find{{"consumer/task", "MarkIsCommitted"}},
	},
	{
		"a partition that is added is read from its end",
		`next, at.Seen = first, changelog.Never`, `next, at.Seen = last, changelog.Never`,
		[]find{growing},
	},
	{
		"an input that is read from now on is read from its beginning",
		`next, at.First = last, last`, `next, at.First = first, 0`,
		[]find{{"consumer", "FromNow"}},
	},
	{
		"an input is met again by every session",
		`if !known[topic] {`, `if len(known) >= 0 {`,
		[]find{{"consumer", "FromNow"}},
	},
	{
		"where an input is read from now on is decided until something is committed",
		`if len(s.met) == 0 {`, `if len(s.met) >= 0 {`,
		[]find{{"consumer", "FromNow"}},
	},
	{
		"a task reads the partitions that its instance has heard of, whatever its position says",
		`in.Grow(of.Topic, of.Partition(task)+1)`, `_ = task`,
		[]find{{"consumer", "PositionKnowsMore"}},
	},
	{
		"a position does not say which partition of an input it means",
		`pos.Sources[changelog.InputOf(in.Topic, in.Partition, s.t.Partition)] =`, `pos.Sources[changelog.Input{Topic: in.Topic}] =`,
		[]find{growing},
	},
	// The protocol.
	{
		"every session has a transactional id of its own, so nobody is fenced",
		`ledger.NewTransactions(ctx, t.Instance.Config.TransactionalID(t.Partition), t`,
		`ledger.NewTransactions(ctx, fmt.Sprintf("%s-%p", t.Instance.Config.TransactionalID(t.Partition), opts.Compressor), t`,
		[]find{{"consumer", "Zombie"}, protocol},
	},
	{
		"a record that was not produced does not matter",
		`	if n, err := d.result(); err != nil {`, `	if n, err := d.result(); err != nil && n < 0 {`,
		[]find{{"consumer", "Unproducible"}, protocol},
	},
	{
		"the store is written before the transaction",
		`	offset, err := s.deliver(`,
		`	s.customers.Committed(1 << 40)
	s.pos, s.unstored, s.unstoredVersions = pos, len(changes)+1, versions
	if err := s.store(); err != nil {
		return err
	}
	offset, err := s.deliver(`,
		[]find{protocol},
	},
	{
		"an error at the end of a transaction does not matter",
		`		return 0, fmt.Errorf("end transaction: %w", err)`, `		_ = err`,
		[]find{{"consumer", "EndRefused"}},
	},
	{
		"a restore ends at the last stable offset",
		`replica.Open(ctx, t.copyOptions(), broker.HighWatermark, l.Begin())`,
		`replica.Open(ctx, t.copyOptions(), broker.LastStable, l.Begin())`,
		[]find{{"consumer", "ChangelogEnd"}},
	},
	{
		"a wrong digest does not matter",
		`len(r.filter.Opened()) == 0 || r.digest != want {`, `len(r.filter.Opened()) == 0 {`,
		[]find{{"consumer", "Wrong"}},
	},
	{
		"the merge begins again with every session",
		`s.feed.Clock.Latest, s.feed.Turn()`, `s.feed.Clock.Latest, changelog.Turn{}`,
		[]find{protocol},
	},
	{
		"what another owner has written counts",
		`if f.known && s.Claim != f.claim {`, `if false {`,
		[]find{{"consumer/changelog", "Filter"}, {"consumer", "Claims"}},
	},
	{
		"an owner without transactions believes in a position that it has not read",
		`	if err := c.others.await(ctx, position); err != nil {
		return 0, err
	}
`, ``,
		[]find{{"consumer", "Zombie"}},
	},
	{
		"a batch without a position counts",
		`	if len(r.filter.Opened()) == 0 {
		return nil
	}
	before`, `	if true {
		return nil
	}
	before`,
		[]find{{"consumer", "Claims"}},
	},
	{
		"what is void is not written again",
		`slices.Sorted(maps.Keys(s.rewrite))`, `slices.Sorted(maps.Keys(map[string]struct{}{}))`,
		[]find{{"consumer", "VoidIs"}},
	},
	{
		"a copy forgets what is void",
		`	if void {
		return changelog.TopicID{}`, `	if false {
		return changelog.TopicID{}`,
		[]find{{"consumer", "VoidIs"}},
	},
	{
		"a batch that can't be decoded is fetched again and again",
		`	if ok, lerr := f.look(ctx, in, lookFor); lerr != nil || !ok {`, `	if ok, lerr := false, error(nil); lerr != nil || !ok {`,
		[]find{{"consumer", "RefusedBatches/none"}},
	},
	{
		"rules that read records in another way are the same rules",
		`	p.Spec.Reading.versions(m)`, ``,
		[]find{{"consumer", "ReadingChanged"}},
	},
	{
		"a large batch is refused whole",
		`	in.large = &largeBatch{stream, in.want()}
	if err != nil {`, `	in.large = &largeBatch{stream, in.want()}
	if true {
		err = broker.ErrInflated`,
		[]find{{"consumer", "^TestLargeBatch$/gzip-1"}},
	},
	{
		"a large batch begins at its first record in every session",
		`	case r.Offset < b.want: // a former session has taken it
`, ``,
		[]find{{"consumer", "DeathInLargeBatch"}},
	},
	{
		"large batches of aborted transactions are read",
		`	case broker.Aborted(&p, &b):`, `	case false && broker.Aborted(&p, &b):`,
		[]find{{"consumer", "LargeBatchOfTransaction"}},
	},
	{
		"dead letters that are left out are not named",
		`range s.letters.Lists(s.wall.Time()) {`, `range s.letters.Lists(s.wall.Time())[:0] {`,
		[]find{{"consumer", "FloodOfRefused"}},
	},

	// Time.
	{
		"a timer fires as of when it is noticed",
		`		at := c.wake
`, `		at := to
`,
		[]find{scenarios, laws},
	},
	{
		"a wake-up is a millisecond late",
		`c.wake = min(c.wake, c.cells[i].next)`, `c.wake = min(c.wake, max(c.cells[i].next, c.cells[i].next+1))`,
		[]find{scenarios, laws},
	},
	{
		"a count falls when the newest entry leaves",
		`	return l.time(j-left-1) + w
`, `	return l.time(j-1) + w
`,
		[]find{scenarios, laws},
	},
	{
		"a late event happens at its own time",
		`now := max(base, clock)`, `now := base`,
		[]find{scenarios, laws},
	},
	{
		"a silence is emitted again and again",
		`	m.Mark = a.At
	f.AnchorID`, `	f.AnchorID`,
		[]find{scenarios, laws},
	},
	{
		"a local time that clocks skip is an hour late",
		`return expr.Millis(start.UnixMilli())`, `return expr.Millis(start.UnixMilli()) + 3_600_000`,
		[]find{{"engine/calendar", "."}},
	},
	{
		"a time that remains passes a threshold a millisecond late",
		`	t := end - Millis(c.At)
`, `	t := end - Millis(c.At) + 1
`,
		[]find{scenarios, laws},
	},
	{
		"an event's id is remembered with the event's time alone",
		`ID{word: hash | lagOf(ev.Lag)}`, `ID{word: hash | lagOf(0)}`,
		[]find{{"engine", "DuplicatesOfBusy"}, {"internal/sim", "EngineEqualsOracle$"}},
	},
	{
		"a copy that comes first decides how long an id is remembered",
		`if now := old.later(s); now != old {`, `if now := old.later(old); now != old {`,
		[]find{{"internal/sim", "FactsCommute"}, {"engine", "DuplicatesOfBusy"}},
	},
	{
		"a customer whose id is remembered longer is not written",
		`if s.batch.out.Stats.Prolonged > before.Prolonged {`, `if s.batch.out.Stats.Prolonged < before.Prolonged {`,
		[]find{{"consumer", "DuplicateProlongs"}},
	},
	{
		"the due key stays when the wake-up changes",
		`due = append(due, dueChange{Due{c.Old, c.Customer}, false}, dueChange{Due{c.New, c.Customer}, true})`,
		`due = append(due, dueChange{Due{c.New, c.Customer}, true})`,
		[]find{{"state", "DueOrder|Model|Crash"}},
	},
	{
		"the due key stays when the customer is erased",
		`				c.New = Never
`, `				c.New = c.Old
`,
		[]find{{"state", "DueOrder|Model"}},
	},
	{
		"a customer leaves memory before the store has it",
		`case e.used || e.changed():`, `case e.used || e.Dirty:`,
		[]find{timers, protocol},
	},
	{
		"wake-ups before the point that was read to are forgotten",
		`first = min(first, e.indexed)`, `_ = e`,
		[]find{timers},
	},
	{
		"the clock is the wall clock, whatever is unread",
		`if in.Next >= r.end || in.passesOver() {`, `if in.Next >= 0 {`,
		[]find{clocks},
	},
	{
		"what stands behind an open transaction does not exist",
		`if in.Next >= r.end || in.passesOver() {`, `if in.Next >= min(r.end, r.stable) {`,
		[]find{{"consumer", "OpenTransaction"}},
	},
	{
		"the clock goes back",
		`c.Now = max(c.Now, least-c.silence)`, `c.Now = least - c.silence`,
		[]find{clocks, timers},
	},
	{
		"there is no grace",
		`c.Now = max(c.Now, least-c.silence)`, `c.Now = max(c.Now, least)`,
		[]find{clocks},
	},
	{
		"a jump of the wall clock is believed",
		`g.tripped, first = true, true`, `first = true`,
		[]find{{"consumer", "Guard"}},
	},
	{
		"an event of the far future moves the clock",
		`h.Result == schemas.IsEvent && h.Ev.At <= f.horizon {
			in.Seen`, `h.Result == schemas.IsEvent {
			in.Seen`,
		[]find{{"consumer", "EventTimes"}},
	},
	{
		"a timer fires a minute early",
		`s.customers.Next(s.feed.Clock.Now)`, `s.customers.Next(s.feed.Clock.Now + 60_000)`,
		[]find{timers},
	},
	{
		"an anniversary is an hour late",
		`AddDays(t.offset).At(v.Zone(), t.at)`, `AddDays(t.offset).At(v.Zone(), t.at) + 3_600_000`,
		[]find{virtual},
	},
	{
		"an erasure has no place in the order",
		`return h.At >= clock && h.At <= horizon`, `return false`,
		[]find{{"consumer", "ErasureOverHistory"}},
	},
	{
		"an erasure comes before what was due",
		`	x.Advance(c, r.At, out)
	now, known :=`, `	now, known :=`,
		[]find{scenarios, laws, {"consumer", "ErasureOverHistory"}},
	},
	{
		"two erasures at one instant have one id",
		`engine.Erasure{At: s.askedAt(h), Place: h.From.String()}`, `engine.Erasure{At: s.askedAt(h)}`,
		[]find{{"consumer", "ErasuresAtOneInstant"}},
	},
	{
		"overdue timers all fire at once",
		`s.feed.Clock.Now-at < overdueAfter`, `s.feed.Clock.Now-at < engine.Never`,
		[]find{timers},
	},

	// What is around it: registries, topics, directories.
	{
		"what a registry says in trouble is said of the schema",
		`	case 400, 410, 422:
`, `	case 400, 410, 422, 401, 429, 500, 502, 503:
`,
		[]find{registries},
	},
	{
		"a registry that forbids everything makes dead letters",
		`		if others {`, `		if true {`,
		[]find{registries},
	},
	{
		"an id that is not there is judged at once",
		`if l.cfg.Now == nil || !l.patience.has(e, now) {`, `if true {`,
		[]find{registries},
	},
	{
		"a refusal stands for ever",
		`	return !e.asked.Before(came)`, `	return true`,
		[]find{registries},
	},
	{
		"the state may be in a changelog that Kafka deletes",
		`policy != "" && policy != "compact"`, `policy == "nosuch"`,
		[]find{changelogs},
	},
	{
		"another application's directory is taken",
		`m.app != "" && s.opt.App != "" && m.app != s.opt.App`, `m.app == "nosuch"`,
		[]find{own},
	},
	{
		"a link is followed",
		`info.Mode()&fs.ModeSymlink != 0`, `info.Mode()&fs.ModeSymlink == 1`,
		[]find{own},
	},
	{
		"another cluster's state is taken",
		`	case m.cluster != "":`, `	case m.cluster == "nosuch":`,
		[]find{own},
	},
	// What mappings make of records.
	{
		"a mapping in another time zone is the same mapping",
		`m.Erase, m.ClearNulls, m.Strict, m.Zone, m.NotIDs`, `m.Erase, m.ClearNulls, m.Strict, "", m.NotIDs`,
		[]find{{"engine/rule/mapping", "Versions"}},
	},
	{
		"a refused element takes the whole record with it",
		`	if len(more.Events) == 0 {
		*ev`, `	if len(more.Events) == 0 || len(more.Refused) > 0 {
		*ev`,
		[]find{{"schemas", "Mapped"}},
	},
	{
		"equal and unequal are known of a text and a number",
		`	if !comparableKinds(a, b) {`, `	if !a.Present() || !b.Present() {`,
		[]find{{"schemas", "Mapped"}},
	},
	{
		"only the first event of a record is taken",
		`	for n := range h.Parts() {
		part := h.Part(n)
		what`, `	for n := range min(1, h.Parts()) {
		part := h.Part(n)
		what`,
		[]find{{"internal/app", "SeveralTopicsOfAStream"}},
	},
	{
		"a line of a file is one event",
		`into.Events = append(events, d.more.Events...)`, `into.Events = append(events, d.more.Events[:0]...)`,
		[]find{{"internal/replay", "BatchInALine"}},
	},
	{
		"a rebuild does not ask how far back its inputs reach",
		`if s.From > s.Since {`, `if s.From > s.Since && s.From < s.Since {`,
		[]find{{"consumer", "RebuildRefusesLoss"}},
	},
	{
		"a rebuild goes on while another task of the instance refuses it",
		`if !s.t.Instance.refused.Load() {`, `if ctx.Err() == nil {`,
		[]find{{"consumer", "RebuildRefusedElsewhere"}},
	},
	{
		"a rebuild needs of every input that was cut what was there from the beginning",
		`return at - back - engine.Millis(skew.Milliseconds())`, `return changelog.Never`,
		[]find{{"consumer", "RebuildWithoutLoss"}},
	},
	{
		"the differences of a rebuild are of when the engine had stopped",
		`s.feed.Clock.Now = s.heard(ctx)`, `s.feed.Clock.Now = max(s.feed.Clock.Now, changelog.Never)`,
		[]find{{"consumer", "RebuildIsEffective"}},
	},
	{
		"the differences of a rebuild are later than what is unread",
		`		mark = in.Seen
		if h, err :=`, `		mark = asked
		if h, err :=`,
		[]find{{"consumer", "RebuildIsEffective"}},
	},
	{
		"a change that is done again forgets the rules before it",
		`	maps.Copy(all, v.Former)
`, ``,
		[]find{{"consumer/group", "ApplyDiesAtEachPoint"}},
	},
	{
		"what is due of unchanged rules does not fire when rules are applied",
		`n := x.fireUnchanged(change, now)
	instant := `, `n := len(out.Effects)
	instant := `,
		[]find{{"internal/sim", "^TestAdopt$"}},
	},
	{
		"a change of rules moves the instant of customers to whom nothing happens",
		`old.instant = instant //`, `_ = instant //`,
		[]find{{"internal/sim", "^TestAdopt$"}},
	},
	{
		"what is due of a renamed rule is emitted under its new id",
		`x.stage.underFormerIDs(x.out.Effects[first:])`, `_ = first`,
		[]find{{"internal/sim", "^TestAdopt$"}},
	},
	{
		"a customer who has had a rename has it again",
		`if i := slices.Index(r.marks, m.seq); i >= 0 {`, `if i := slices.Index(r.marks, m.seq); i > len(r.marks) {`,
		[]find{{"engine", "^TestRename$"}, {"internal/sim", "^TestRenamedTwice$"}},
	},
	{
		"a change that is done again forgets what rules were called",
		`Renamed: former.Renamed, Kept`, `Kept`,
		[]find{{"consumer/group", "RenameDiesAtEachPoint"}},
	},
	{
		"the instant of a change passes what is yet to be forwarded",
		` || len(s.t.Instance.Senders(s.t.Partition)) > 0 {`, ` {`,
		[]find{{"consumer/group", "ChangeWaitsForForwarded"}},
	},
	{
		"a customer who was brought over is brought over again",
		`cs.Pass != 0 && e.C.Brought() != cs.Pass`, `cs.Pass != 0`,
		[]find{{"consumer/group", "ChangeLive"}},
	},
	{
		"a new rule has what was kept of a former one, of which it has half the key",
		`whole(key, of(&d.change.former))`, `whole(key, of(&d.e.keys))`,
		[]find{{"engine", "^TestHalfOfARemovedRule$"}},
	},
	{
		"customers of earlier formats are read by the new rules before a change has come by",
		`if cs.Change != nil {`, `if false {`,
		[]find{{"consumer/cache", "^TestKeysOfTheRulesBefore$"}},
	},
	{
		"a customer takes a step before being brought over",
		`	if e.Former {
		if err := s.bringFirst(e); err != nil {`, `	if false {
		if err := s.bringFirst(e); err != nil {`,
		[]find{{"consumer/group", "ChangeLive"}},
	},
	{
		"facts that were made beside the loop are taken although they are gone",
		`c.prepared != nil && c.prepared.whole(scratch)`, `c.prepared != nil`,
		[]find{{"consumer/group", "ChangeLive"}},
	},
	{
		"an instance that was started to rebuild forgets facts at each change",
		`s.cfg.Rebuild && !prepared //`, `s.cfg.Rebuild //`,
		[]find{{"consumer/group", "ChangeLiveAfterRebuild"}},
	},
	{
		"what was read while facts were made is not in them",
		`err = p.history.fold(ctx, rest)`, `_ = rest`,
		[]find{{"consumer/group", "ChangeLive"}},
	},
	{
		"facts that were made for another change are taken",
		`return err == nil && ok && bytes.Equal(m.Versions, c.Append(nil))`, `_, _ = m, ok; return err == nil && c != nil && len(bytes.TrimSpace(nil)) == 0`,
		[]find{{"consumer/group", "ChangeLive"}},
	},
	{
		"a change that is gone on with has another instant",
		`	if !c.resumed {
		c.At = s.feed.Clock.Now`, `	c.At = s.feed.Clock.Now
	if !c.resumed {
		c.At = s.feed.Clock.Now`,
		[]find{{"consumer/group", "ChangeLive|RebuildDies"}},
	},
	{
		"a task begins with the newest rules whatever its partition is under",
		`		if r != nil {
			return t.Instance.with(r).config, nil`, `		if r == nil {
			return t.Instance.with(r).config, nil`,
		[]find{{"consumer/group", "ChangeLive"}},
	},
	{
		"what was forwarded and is yet to be read is in new facts already",
		`		return !unread
`, `		return true
`,
		[]find{{"consumer/group", "ApplyTakesForwardedOnce"}},
	},
	{
		"what is applied keeps no facts",
		`	if forget {
		kept.Facts = nil`, `	if forget || s.cfg.Apply {
		kept.Facts = nil`,
		[]find{{"consumer/group", "ApplyKeepsFacts"}},
	},
	{
		"facts are kept for a longer window",
		`c.Facts[i] = !ok || reach < p.Summaries[i].Reach`, `_ = reach; c.Facts[i] = !ok`,
		[]find{{"engine/ruleset", "TestChange"}},
	},
	{
		"a rule is unchanged although what it reads is not",
		`fmt.Fprintf(&b, "{%x}", d.rules[in.Segment])`, `b.WriteString("{}")`,
		[]find{{"engine/ruleset", "TestChange"}},
	},
	{
		"an instance with old files brings their rules back",
		`&& !s.cfg.ApplyFormer:`, `&& !s.cfg.ApplyFormer && !s.cfg.Apply:`,
		[]find{{"consumer/group", "ApplyFormer"}},
	},
	{
		"what is due of unchanged rules does not fire in a rebuild",
		`n := x.fireUnchanged(change, now)
	x.exit`, `n := len(out.Effects)
	x.exit`,
		[]find{{"internal/sim", "^TestRebuild$"}, {"consumer", "RebuildIsEffective"}},
	},
	{
		"a rebuild judges changed rules before they have their facts",
		`if x.change != nil && x.change.differs.Units[u] {`, `if x.change != nil && x.change.differs.Units[u] && u < 0 {`,
		[]find{{"internal/sim", "^TestRebuild$"}, {"consumer", "RebuildDiesAtEachPoint"}},
	},
	{
		"a rebuild folds what former mappings made",
		`return unread || !ok ||`, `return true || !ok ||`,
		[]find{{"consumer", "RebuildByOtherMappings"}},
	},
	{
		"a rebuild does not read mapped records on other partitions",
		`if task == t.Partition || len(cfg.Mapped) == 0 {`, `if task >= 0 {`,
		[]find{{"consumer", "RebuildByOtherMappings"}},
	},
	{
		"instances do not compare mappings",
		`= p.Spec.Mappings[i].Version(p.Spec.Streams())`, `= ""`,
		[]find{{"consumer", "MappingsOfTwoInstances$"}},
	},
	{
		"a mapped event is forwarded as the record that it was made of",
		`	if len(h.More.Texts) > 0 { // the receiver need`, `	if len(h.More.Texts) > 1000 { // the receiver need`,
		[]find{{"internal/checker", "Severals"}, {"consumer", "DeathWithMappedRecords"}},
	},
	{
		"what is refused of a record of events is lost",
		`return 1 + len(h.More.Events) + len(h.More.Refused)`, `return 1 + len(h.More.Events)`,
		[]find{{"internal/checker", "Severals"}},
	},
	{
		"the events of a record come latest first",
		`cmp.Compare(more.Events[a].At, more.Events[b].At)`, `cmp.Compare(more.Events[b].At, more.Events[a].At)`,
		[]find{{"consumer", "MappedEqualsCanonical"}},
	},
	{
		"prices of items are not converted",
		`		one(&items.Elem.Fields[at], &f.Cells[from+i*width+at])`, `		_ = from + i*width + at`,
		[]find{{"internal/shapes", "MappedHistories"}},
	},
	{
		"amounts are rounded half up",
		`twice == uint64(rateOne) && q&1 == 1 {`, `twice == uint64(rateOne) {`,
		[]find{{"internal/shapes", "MappedHistories"}},
	},
	{
		"amounts without a rate stay",
		`if f.amounts(func(_ *Field, c *Cell) { *c = Cell{} }) > 0 {`, `if f.amounts(nil) > 0 {`,
		[]find{{"internal/shapes", "MappedHistories"}},
	},
	{
		"ids are remembered for as long as ever",
		`keep := cmp.Or(p.Spec.Reading.Dedup[info.Name], info.Dedup)`, `keep := info.Dedup`,
		[]find{{"internal/ruletest", "DedupHorizon"}},
	},
	{
		"a filter that is unknown holds",
		`	case v.K != expr.Bool:
		return Undecided`, `	case v.K != expr.Bool:
		return Event`,
		[]find{{"internal/shapes", "MappedHistories"}},
	},
	{
		"null clears whatever the mapping says",
		`Attributes && m.ClearNulls
`, `Attributes
`,
		[]find{{"internal/shapes", "MappedHistories"}},
	},
	{
		"filter keeps what is unknown",
		`			if !cond(e).True() {`, `			if v := cond(e); v.Present() && !v.True() {`,
		[]find{{"internal/shapes", "MappedHistories"}},
	},
	{
		"what is not known to be in a list is not in it",
		`			case !comparableKinds(v, w):
				unknown = true`, `			case !comparableKinds(v, w):
				unknown = false`,
		[]find{{"internal/shapes", "Expressions"}},
	},
	{
		"a division of records loses what is left over",
		`b.N != 0 && a.N%b.N != 0 {`, `b.N != 0 && a.N%b.N != 0 && false {`,
		[]find{{"internal/shapes", "Expressions"}},
	},
	{
		"parts of an id run together",
		`text = strings.ReplaceAll(text, ":", "::")`, `text = strings.ReplaceAll(text, ":", ":")`,
		[]find{{"internal/shapes", "Expressions"}},
	},
	// What rule files declare.
	{
		"a declared field is the same under another type",
		`	b.WriteString(c.ownTypes(src, field))`, `	_ = c.ownTypes(src, field)`,
		[]find{{"engine/rule", "OwnIdentity"}},
	},
	{
		"ids of a declared stream go by its number",
		`	if ev.Stream >= plan.NumBuiltin {
		b = binary`, `	if ev.Stream >= plan.NumBuiltin && ev.Key == 0 {
		b = binary`,
		[]find{{"engine/dedup", "OwnStreams"}},
	},
	{
		"a declared field makes a record of a strict input a dead letter",
		`!fd.Loose && !fd.Declared && !own {`, `!fd.Loose && !own {`,
		[]find{{"schemas", "Strict"}},
	},
}

// What mutations replace is in the source, and the tests that are to find them are
// there. If not, something has changed: so must they.
func TestMutationsFit(t *testing.T) {
	all := sourcesOf(t, root(t), false)
	for _, m := range mutations {
		mutable(t, all, m.from)
		for _, f := range m.by {
			f.packages(t)
		}
	}
}

// root returns the folder of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("no module above the test: ", err)
	return ""
}

// sourcesOf returns the Go files under a folder: tests, or everything else.
func sourcesOf(t *testing.T, folder string, tests bool) map[string]string {
	t.Helper()
	sources := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") != tests {
			return err
		}
		b, err := os.ReadFile(path)
		sources[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// mutable returns the one file that has a piece, once, wherever it is: files move.
func mutable(t *testing.T, sources map[string]string, piece string) (file string) {
	t.Helper()
	n := 0
	for path, source := range sources {
		if c := strings.Count(source, piece); c > 0 {
			n += c
			file = path
		}
	}
	if n != 1 {
		t.Fatalf("the source has %q %d times", piece, n)
	}
	return file
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// packages returns the packages under that of f that have its tests.
func (f find) packages(t *testing.T) (dirs []string) {
	t.Helper()
	first, _, _ := strings.Cut(f.run, "/")
	wanted := regexp.MustCompile(first)
	for path, source := range sourcesOf(t, filepath.Join(root(t), f.pkg), true) {
		named := slices.ContainsFunc(testFunc.FindAllStringSubmatch(source, -1), func(m []string) bool { return wanted.MatchString(m[1]) })
		if dir := filepath.Dir(path); named && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		t.Fatalf("%v names no test", f)
	}
	return dirs
}
