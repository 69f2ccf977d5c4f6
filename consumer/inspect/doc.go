// Package inspect looks at the topics of an application and at their newest records.
//
// The one rule it keeps: it changes nothing.
package inspect
