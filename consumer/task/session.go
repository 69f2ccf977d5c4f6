package task

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/deadletter"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// session is one acquisition of a task: everything here is thrown away by any
// error. The position is what was last committed; the feed runs ahead of it by the
// batch that is being made.
type session struct {
	folder
	ledger ledger.Ledger
	written
	copied

	wall    engine.Millis // the wall clock, read once per batch
	overdue bucket        // of timers that are overdue
	letters deadletter.Writer
	emitted effectCounters
	headers *schemas.Headers[kgo.RecordHeader]
	until   *untilTask // of a run that has an end
	growing
	pass *pass           // of a change of rules that is in progress, nil if there is none
	met  map[string]bool // inputs that are read from now on, and were not known before

	commits     int
	committedAt time.Time // when the last transaction began, or the session
}

// folder is what folds the records of a feed into customers: of a session, and of a
// rebuild, which reads the past.
type folder struct {
	t         *Task
	cfg       *config.Config
	feed      *feed.Feed
	customers *cache.Customers
	batch     batch
	route     broker.Router
	fat       fat
}

func newFolder(t *Task, cfg *config.Config, store *state.Task) folder {
	return folder{
		t: t, cfg: cfg, customers: cache.New(cfg.Engine, store),
		batch: newBatch(cfg.Engine), route: broker.NewRouter(t.Instance.Partitions),
	}
}

// written is what the changelog holds, and what the next transaction will say of it.
type written struct {
	pos    *changelog.Position
	before *changelog.Versions // those of the position
	next   int64               // next changelog offset
	logged changelog.Claim     // under which the changelog's records count
	// rewrite are keys whose newest record in the changelog is void.
	rewrite map[string]struct{}

	// versions are to be written with the next transaction, nil if they are there.
	versions *changelog.Versions
	// rules and rebuilding are those of the next position.
	rules      [16]byte
	rebuilding bool
}

// copied is what the copy in the store has, and lacks of what is written.
type copied struct {
	topicID          changelog.TopicID
	unstored         int // records that it lacks
	unstoredVersions []byte
	asOf             engine.Millis // the wall clock when the position was committed
	storedAt         time.Time
}

// at passes a point of the protocol.
func (s *session) at(point string) error { return s.t.At(point) }

func (s *session) close() {
	if s.feed != nil {
		s.feed.Close()
	}
	s.ledger.Close()
}
