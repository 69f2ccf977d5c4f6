package state_test

import (
	"encoding/binary"
	"fmt"
	"log"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/state"
)

// A task writes customers with their wake-ups and with what the copy is a copy of, all
// in one batch, and finds who is due.
func Example() {
	// What a customer's bytes mean is not known here, but for the wake-up. These begin
	// with it.
	wakeOf := func(customer []byte) (state.Millis, error) {
		return state.Millis(binary.BigEndian.Uint64(customer)), nil
	}
	bytesOf := func(wake state.Millis) []byte { return binary.BigEndian.AppendUint64(nil, uint64(wake)) }

	store, err := state.Open("state", state.Options{FS: vfs.NewMem(), Wake: wakeOf})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	noon := state.Millis(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	const hour = 3_600_000
	task := store.Task(0) // of partition 0
	err = task.Apply([]state.Change{
		{Customer: "anna", Value: bytesOf(noon), Old: state.Never, New: noon},
		{Customer: "bert", Value: bytesOf(noon + hour), Old: state.Never, New: noon + hour},
		{Customer: "carl", Value: bytesOf(state.Never), Old: state.Never, New: state.Never},
	}, &state.Meta{Position: []byte("position 1"), Next: 4})
	if err != nil {
		log.Fatal(err)
	}

	due, err := task.Due(nil, state.Due{}, noon, 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range due {
		fmt.Println("due by noon:", d.Customer)
	}
	meta, complete, err := task.Meta()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("complete: %v, at %s\n", complete, meta.Position)
	// Output:
	// due by noon: anna
	// complete: true, at position 1
}
