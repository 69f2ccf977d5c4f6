// Package recorded holds a run of the engine as it was recorded: a fixed, seeded
// history goes through an engine against a broker in the process, and everything
// that comes out is compared with what came out before. What is recorded is every
// record of every topic that the engine writes, down to the boundaries of
// transactions, the local state, and the metrics.
//
// The one rule: a change of the code that is not meant to change what the engine
// does changes no recording. The tests use exported API only, so that a recording
// outlives any rearrangement of what is behind it.
//
// A recording consists of a hash per partition and of the metrics as text. To see
// what has changed, run the test before and after with RECORD_DIR set to two
// folders, and compare them: each partition is a text file there, one record a line.
package recorded
