package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// CheckConfig reads a configuration without what it needs to run: environment variables
// that are not set stand for themselves, and are returned. Errors are those of
// ReadConfigToRun.
func CheckConfig(path string) (c *Config, unset []string, err error) {
	c, err = readConfig(path, func(name string) (string, bool) {
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		unset = append(unset, name)
		return "${" + name + "}", true
	}, true)
	slices.Sort(unset)
	return c, slices.Compact(unset), err
}

// AddInputs adds the inputs of the configuration, under its rules, to how records are read,
// and returns their topics.
func (c *Config) AddInputs(rules *Rules, to *schemas.Config) (topics []string, err error) {
	in, err := c.readInputs(rules.Set.Spec)
	if err != nil {
		return nil, err
	}
	to.Topics, to.Settings, to.Mappings, to.Locations = in.streams, in.settings, in.mappings, Zones()
	to.NotRead = in.leaves()
	return in.topics(), nil
}

// Mappings returns the mappings of a topic under a configuration.
func (c *Config) Mappings(r *Rules, topic string) ([]*plan.Mapping, error) {
	in, err := c.readInputs(r.Set.Spec)
	if err != nil {
		return nil, err
	}
	if l := in.mappings[topic]; l != nil {
		return l, nil
	}
	if _, ok := in.streams[topic]; ok {
		return nil, fmt.Errorf("the records of %s are events already: it has no mapping with a map", topic)
	}
	for _, n := range in.notRead {
		if n.Topic == topic {
			return nil, fmt.Errorf("%v; %s", n, n.Remedy)
		}
	}
	return nil, fmt.Errorf("%s is no input; inputs with a mapping are %s", topic, cmp.Or(strings.Join(slices.Sorted(maps.Keys(in.mappings)), ", "), "not configured"))
}

// ErasureTopic returns the topic that erasures are written to: that of profiles, else one
// whose mapping takes a record without a value, with the id as its key, for an erasure.
func (c *Config) ErasureTopic(ctx context.Context) (string, error) {
	if topic := c.topicOf(plan.Profile); topic != "" {
		return topic, nil
	}
	none := errors.New("erasures are written to the topic of profiles, and none is configured: set topics.profile, or add one to inputs, or write tombstone: erase in the mapping of an input whose keys are customer ids")
	if !slices.ContainsFunc(c.Inputs, func(in InputConfig) bool { return in.Map != "" }) {
		return "", none
	}
	rules, err := LoadRulesWithin(ctx, c.Rules)
	if err != nil {
		return "", err
	}
	in, err := c.readInputs(rules.Set.Spec)
	if err != nil {
		return "", err
	}
	for _, topic := range slices.Sorted(maps.Keys(in.streams)) {
		if in.streams[topic] == plan.Profile {
			return topic, nil
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(in.mappings)) {
		if slices.ContainsFunc(in.mappings[topic], func(m *plan.Mapping) bool { return m.Erase && m.Key == nil }) {
			return topic, nil
		}
	}
	return "", none
}
