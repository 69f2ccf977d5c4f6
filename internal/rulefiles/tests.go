package rulefiles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/segmill/segmill/engine/rule"
)

// IsTest reports whether a path is that of a test of rules, such as loyal_test.yaml.
func IsTest(path string) bool {
	ext := filepath.Ext(path)
	return (ext == ".yaml" || ext == ".yml") && strings.HasSuffix(strings.TrimSuffix(path, ext), "_test")
}

// Tests reads the test files that belong to rule files and directories: those that
// are named, all below a directory, and loyal_test.yaml of loyal.yaml.
func Tests(paths []string) ([]rule.File, error) {
	files, err := read(paths, IsTest, func(path string, add func(string) error) error {
		if IsTest(path) {
			return add(path)
		}
		return addBeside(path, add)
	})
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	return files, nil
}

// addBeside adds the test file of a rule file, if it has one.
func addBeside(path string, add func(string) error) error {
	stem := strings.TrimSuffix(path, filepath.Ext(path)) + "_test"
	for _, ext := range []string{".yaml", ".yml"} {
		if _, err := os.Stat(stem + ext); err != nil {
			continue
		}
		if err := add(stem + ext); err != nil {
			return err
		}
	}
	return nil
}
