package file

import "slices"

// ID names a class of warnings. It is printed behind the message, and is how a rule file
// says that a warning is known and meant.
type ID string

// The classes of warnings. docs/rules.md says of each what to do.
const (
	AbsentComparison   ID = "absent-comparison"
	AlwaysTrue         ID = "always-true"
	CoarseWindow       ID = "coarse-window"
	ConsentAlone       ID = "consent-alone"
	ContainedRule      ID = "contained-rule"
	EqualRules         ID = "equal-rules"
	FirstValue         ID = "first-value"
	MachineOpens       ID = "machine-opens"
	MatchesIdle        ID = "matches-idle"
	MixedCurrency      ID = "mixed-currency"
	NeverReached       ID = "never-reached"
	NeverTrue          ID = "never-true"
	ReviewOverdue      ID = "review-overdue"
	TextOrder          ID = "text-order"
	UnattendedActivity ID = "unattended-activity"
	UnlinkedIdentity   ID = "unlinked-identity"
	UnusedAllow        ID = "unused-allow"
	UnusualValue       ID = "unusual-value"
	UTCParts           ID = "utc-parts"
	WholeDivision      ID = "whole-division"
)

// ids are all classes of warnings, in order of name.
var ids = []ID{
	AbsentComparison, AlwaysTrue, CoarseWindow, ConsentAlone, ContainedRule, EqualRules, FirstValue,
	MachineOpens, MatchesIdle, MixedCurrency, NeverReached, NeverTrue, ReviewOverdue, TextOrder,
	UnattendedActivity, UnlinkedIdentity, UnusedAllow, UnusualValue, UTCParts, WholeDivision,
}

// IDs lists the classes of warnings in order of name.
func IDs() []ID { return slices.Clone(ids) }

// Remark is a class of warnings with what to do about one of them, "" if that is not known.
type Remark struct {
	ID   ID
	Hint string
}

// Hint returns a remark of the class with a remedy.
func (id ID) Hint(hint string) Remark { return Remark{id, hint} }
