package consumer

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// weakness is a setting of the cluster that is weaker than the guarantees assume.
type weakness struct {
	message string
	topics  []string // that have it
}

// warn says what is weaker than the guarantees assume.
func (o *Owner) warn(ctx context.Context, adm *kadm.Client, topics map[string]topicInfo) {
	if v, message := o.weakTransactions(ctx); message != "" {
		o.cfg.Logger.Warn(message, "transaction_version", v) //nolint:sloglint // one text
	}
	for _, w := range o.weaknesses(ctx, adm, topics) {
		o.cfg.Logger.Warn(w.message, "topics", w.topics) //nolint:sloglint // one of four texts
	}
}

// weakTransactions returns what to say of the cluster's transaction.version, "" if
// it is good or does not matter.
func (o *Owner) weakTransactions(ctx context.Context) (version int16, message string) {
	v, err := o.transactionVersion(ctx)
	if o.cfg.Delivery != ExactlyOnce || err != nil || v >= 2 {
		return v, ""
	}
	return v, "the cluster's transaction.version is below 2: a delayed end of a transaction can reach a later one (KIP-890); raise it with kafka-features"
}

// weaknesses returns those of topics that exist. Settings that may not be read are
// passed over.
func (o *Owner) weaknesses(ctx context.Context, adm *kadm.Client, topics map[string]topicInfo) []weakness {
	names := slices.Sorted(maps.Keys(topics))
	few := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return topics[name].replicas >= 3 })
	all := []weakness{{"topics with fewer than 3 replicas: losing a broker can lose what was committed", few}}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		configs = nil
	}
	var weak, unclean, uncompacted []string
	for _, c := range configs {
		for _, kv := range c.Configs {
			switch v := kv.MaybeValue(); {
			case kv.Key == "min.insync.replicas" && v == "1":
				weak = append(weak, c.Name)
			case kv.Key == "unclean.leader.election.enable" && v == "true":
				unclean = append(unclean, c.Name)
			case kv.Key == "cleanup.policy" && c.Name == o.cfg.changelog() && !strings.Contains(v, "compact"):
				uncompacted = append(uncompacted, c.Name)
			}
		}
	}
	all = append(all,
		weakness{"topics with min.insync.replicas 1: a write is acknowledged by one broker alone", weak},
		weakness{"topics with unclean leader election: a broker that was behind can take over and lose data", unclean},
		weakness{"the changelog is not compacted: restoring takes longer the longer the engine runs", uncompacted})
	return slices.DeleteFunc(all, func(w weakness) bool { return len(w.topics) == 0 })
}

// transactionVersion returns the cluster's finalized transaction.version.
func (o *Owner) transactionVersion(ctx context.Context) (int16, error) {
	resp, err := o.apiVersions(ctx)
	if err != nil {
		return 0, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel, nil
		}
	}
	return 0, nil
}

// apiVersions asks a broker what it knows.
func (o *Owner) apiVersions(ctx context.Context) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "segmill", "0"
	return req.RequestWith(ctx, o.admin)
}
