// Package hostile holds the table of bad input and misuse: what is sent to a running
// `segmill run`, or how a command is misused, and what must come of it. Its tests need
// bin/segmill and the build tag hostile: `make hostile`.
//
// Brokers are kfake in the process of the test, or those that SEGMILL_TEST_BROKERS
// names: addresses with commas between them, or "kafka" for one that is started.
package hostile
