//go:build race

package schemas

// raceDetector: allocations are not counted under it, since it makes its own.
const raceDetector = true
