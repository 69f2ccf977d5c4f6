// Package e2e tests the program from outside, as processes over loopback: a
// development broker, segmill, and Debian's kcat as an independent client. The
// tests have the build tag e2e; `make e2e` runs them.
package e2e
