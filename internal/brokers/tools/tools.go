// Package tools installs the programs that tests on real brokers need and that are
// not written in Go, each once, into the user's cache: Python packages, Node
// packages and Java archives. What is installed is named by its contents, so that
// other versions are another folder, and is there as a whole or not at all.
package tools

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Python returns a Python that has the packages of a requirements.txt.
func Python(ctx context.Context, requirements []byte) (program string, err error) {
	dir, err := install("python", requirements, func(dir string) error {
		file := filepath.Join(dir, "requirements.txt")
		if err := os.WriteFile(file, requirements, 0o600); err != nil {
			return err
		}
		venv := filepath.Join(dir, "venv")
		if err := run(ctx, dir, "Debian: apt-get install python3 python3-venv", "python3", "-m", "venv", venv); err != nil {
			return err
		}
		return run(ctx, dir, "", filepath.Join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--only-binary=:all:", "-r", file)
	})
	return filepath.Join(dir, "venv", "bin", "python"), err
}

// Node returns the folder node_modules of a package.json.
func Node(ctx context.Context, manifest []byte) (modules string, err error) {
	dir, err := install("node", manifest, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "package.json"), manifest, 0o600); err != nil {
			return err
		}
		return run(ctx, dir, "Debian: apt-get install nodejs npm", "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	})
	return filepath.Join(dir, "node_modules"), err
}

// Jars returns a folder with the dependencies of a pom.xml.
func Jars(ctx context.Context, pom []byte) (string, error) {
	dir, err := install("java", pom, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o600); err != nil {
			return err
		}
		return run(ctx, dir, "Debian: apt-get install maven", "mvn", "-q", "-B", "dependency:copy-dependencies",
			"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "jars"))
	})
	return filepath.Join(dir, "jars"), err
}

// Archive returns the folder into which an archive of Maven Central was unpacked,
// by its coordinates group:artifact:version:tar.gz:classifier.
func Archive(ctx context.Context, coordinates string) (string, error) {
	return install("archive", []byte(coordinates), func(dir string) error {
		if err := run(ctx, dir, "Debian: apt-get install maven", "mvn", "-q", "-B", "dependency:copy",
			"-Dartifact="+coordinates, "-DoutputDirectory="+dir); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("%s came as %q: %w", coordinates, files, err)
		}
		if err := run(ctx, dir, "", "tar", "-xzf", files[0]); err != nil {
			return err
		}
		return os.Remove(files[0])
	})
}

// install returns the folder of what is described by text, which it fills with
// fill if it is not there.
func install(kind string, text []byte, fill func(dir string) error) (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to install programs for tests: %w; set HOME or XDG_CACHE_HOME", err)
	}
	cache := filepath.Join(user, "segmill")
	dir := filepath.Join(cache, fmt.Sprintf("%s-%x", kind, sha256.Sum256(text))[:len(kind)+13])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh) // what is left does no harm
	if err := fill(fresh); err != nil {
		return "", err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
}

// run runs a program, whose remedy says where it comes from.
func run(ctx context.Context, dir, remedy, program string, args ...string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("%w: the tests on real brokers need it; %s", err, remedy)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
