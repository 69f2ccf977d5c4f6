// Package shop holds the rules of the example shop, which `segmill demo` runs.
package shop

import "embed"

// Rules are the rule files, under rules/, with their tests, *_test.yaml.
//
//go:embed rules/*.yaml
var Rules embed.FS
