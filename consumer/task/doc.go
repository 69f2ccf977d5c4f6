// Package task owns one partition of an engine, from its assignment to its revocation.
//
// The one rule it keeps: whatever a session holds, from its acquisition on, is thrown
// away by any error. What is left is the changelog, and the next session begins there.
//
// To follow an event, read loop.go downwards; a commit, commit.go; a restore, acquire.go.
package task
