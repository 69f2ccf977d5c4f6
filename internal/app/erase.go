package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// eraseTimeout bounds the writing of one tombstone.
const eraseTimeout = 30 * time.Second

// maxCustomerID is the longest customer id in bytes that the engine takes.
const maxCustomerID = 1024

// CheckCustomerID returns an error if no customer can have the id.
func CheckCustomerID(id string) error {
	switch {
	case id == "":
		return errors.New("a customer id is empty")
	case len(id) > maxCustomerID:
		return fmt.Errorf("the customer id %.20q… is %d bytes long, more than %d", id, len(id), maxCustomerID)
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return fmt.Errorf("the customer id %.20q is not text", id)
	}
	return nil
}

// Erase asks the engine to erase customers: for each it writes a tombstone to the
// profile topic, and to out where that stands. All ids are checked before the
// first one is written. After an error, those that were told are asked for.
func Erase(ctx context.Context, conf *Config, ids []string, out io.Writer, opts ...kgo.Opt) error {
	topic := conf.Topics.Profile
	if topic == "" {
		return errors.New("the configuration has no profile topic, and that is where erasures are asked for: set topics.profile")
	}
	for _, id := range ids {
		if err := CheckCustomerID(id); err != nil {
			return err
		}
	}
	kafka, err := conf.Kafka.options()
	if err != nil {
		return err
	}
	opts = append(kafka, opts...)
	if err := reachable(ctx, &conf.Kafka, opts); err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2, as the engine has it
		kgo.UnknownTopicRetries(1),
		kgo.RecordDeliveryTimeout(eraseTimeout))...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer cl.Close()
	for _, id := range ids {
		r, err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(id)}).First()
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("%s: topic %s does not exist: see topics.profile", id, topic)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if _, err := fmt.Fprintf(out, "%s: %s/%d offset %d\n", id, r.Topic, r.Partition, r.Offset); err != nil {
			return err
		}
	}
	return nil
}
