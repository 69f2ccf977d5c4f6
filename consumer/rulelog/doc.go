// Package rulelog is the topic that says which rules are in force: a log of rule sets, each
// of which replaces the one before. The topic has one partition and is never deleted, so it
// is also the history of who changed what, when and why.
//
// The one rule it keeps: every reader, at any time, counts the same sets. A set counts if all
// its parts are in the log and the set that it replaces is the newest one that counts before
// the last of them. All others are void. So of several writers who replace the same set at
// once, one is successful, and the others hear of it when they read the log back.
package rulelog
