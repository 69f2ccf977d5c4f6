package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// version is the content hash of what decides a rule's result.
func version(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Versions returns the content hash of every segment and stage by id, of every
// trigger as "trigger:<id>", and the defaults "defaults:timezone" and
// "defaults:feb_29". Names, order and layout of the files do not enter.
func (p *Plan) Versions() map[string]string {
	m := map[string]string{"defaults:timezone": p.Spec.Zone, "defaults:feb_29": "feb_28"}
	if p.Spec.MarFirst {
		m["defaults:feb_29"] = "mar_1"
	}
	for _, s := range p.Segments {
		m[s.ID] = s.Version
	}
	for _, t := range p.Triggers {
		m["trigger:"+t.ID] = t.Version
	}
	return m
}
